"""A folder that cannot be listed is an error, never an empty folder: else all promises and devices are gone at once."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from subfunction.state.ledger import LedgerEntry, open_ledger

LISTED: Final = """
from subfunction.errors import FolderError
try:
    print(len(folder.read_all().items), "promises")
except FolderError as error:
    print(error)
"""
OPENED: Final = """
import os, sys
from pathlib import Path
from subfunction.state.ledger import open_ledger
folder = open_ledger(Path(sys.argv[1]))
"""
NOT_ALLOWED: Final = """
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
"""
NO_DESCRIPTOR_LEFT: Final = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
kept = []
try:
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
"""


@pytest.mark.parametrize(
    ("hindered", "why"),
    [
        (NO_DESCRIPTOR_LEFT, "Too many open files"),
        pytest.param(
            NOT_ALLOWED,
            "Permission denied",
            marks=pytest.mark.xfail(
                strict=True,
                raises=AssertionError,
                reason="issue H: Path.glob keeps errors to itself: on Python 3.11 this one, from 3.13 on every one",
            ),
        ),
    ],
    ids=["no descriptor left", "not allowed"],
)
def test_promises_that_cannot_be_listed_are_not_taken_for_none(root: Path, hindered: str, why: str) -> None:
    folder = open_ledger(root / "allocations")
    folder.write("uid-1", LedgerEntry(uid="uid-1", resource="subfunction.dev/mlx5", device_id="mlx5_core.sf.4", at=1.0))
    root.chmod(0o755)
    folder.path.chmod(0o000)
    command = [sys.executable, "-c", OPENED + hindered + LISTED, str(folder.path)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert told.stdout == f"cannot list {folder.path}: {why}\n"
