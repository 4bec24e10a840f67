"""What each test in the VM stands on is said, and sfsim stands in for mlx5 only where its README lists it."""

import ast
import re
from pathlib import Path

VM = Path(__file__).parents[1] / "vm"
GROUNDS = {"real mlx5", "sfsim ice", "sfsim mlx5", "no NIC"}


def marked(path: Path) -> set[str]:
    """The grounds that a module names: in a mark, or as a text that becomes one."""
    texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str)} & GROUNDS


def test_each_mark_names_a_ground_that_the_summary_counts() -> None:
    named = {
        (path.name, ground)
        for path in VM.glob("test_*.py")
        for ground in re.findall(r'ground\("(.*?)"', path.read_text())
    }
    assert {(name, ground) for name, ground in named if ground not in GROUNDS} == set()


def test_sfsim_stands_in_for_mlx5_where_its_readme_lists_it_and_nowhere_else() -> None:
    _, _, section = (VM / "sfsim" / "README.md").read_text().partition("## Under mlx5's name")
    section, _, _ = section.partition("\n## ")
    listed = set(re.findall(r"`(test_(?!grounds)\w+\.py)`", section))
    assert listed == {path.name for path in VM.glob("test_*.py") if "sfsim mlx5" in marked(path)}


def test_a_test_that_loads_sfsim_says_so() -> None:
    """Without a mark a test counts as one of the machine itself, or of the real driver."""
    silent = {
        path.name
        for path in VM.glob("test_*.py")
        if re.search(r"\b(sfsim|switched)\b\s*:\s*Sfsim", path.read_text()) and not marked(path)
    }
    assert silent == set()
