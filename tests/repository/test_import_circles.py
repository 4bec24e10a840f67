"""No module imports itself by way of others: each source root can be read from the bottom to the top."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("core", "operator", "deviceplugin", "simulator")


def _modules(root: Path) -> dict[str, Path]:
    names = {path: path.relative_to(root).with_suffix("").parts for path in root.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


def _imported(path: Path) -> Iterator[tuple[str, str]]:
    """Give each import as a module and a name in it, also those under TYPE_CHECKING and in functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, each.name) for each in node.names)


def _needed(module: str, name: str, modules: dict[str, Path]) -> str | None:
    """Tell the module that an import needs; `from package import module` needs that module alone."""
    return next((found for found in (f"{module}.{name}", module) if found in modules), None)


def circle(root: Path) -> list[str]:
    modules = _modules(root)
    graph = {
        name: {found for imported in _imported(path) if (found := _needed(*imported, modules)) is not None}
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_no_module_imports_itself_by_way_of_others(root: str) -> None:
    assert circle(ROOT / root) == []


def test_a_circle_under_type_checking_or_in_a_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("if TYPE_CHECKING:\n    from two import Two\n", encoding="utf-8")
    (tmp_path / "two.py").write_text("def load():\n    import three\n", encoding="utf-8")
    (tmp_path / "three.py").write_text("import one\n", encoding="utf-8")
    assert sorted(set(circle(tmp_path))) == ["one", "three", "two"]
