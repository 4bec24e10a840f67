"""What the documents name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DOCUMENTS = [path for path in ROOT.glob("docs/*.md") if NAMED.search(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_test_that_a_document_names_exists(document: Path) -> None:
    named = NAMED.findall(document.read_text(encoding="utf-8"))
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not (ROOT / path).is_file() or not re.search(rf"def {test}\b", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_the_page_of_traps_names_some() -> None:
    assert "kubelet.md" in {path.name for path in DOCUMENTS}
