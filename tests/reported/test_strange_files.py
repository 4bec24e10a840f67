"""A file that is no plain small file, where another program may write: it is unreadable, at once, and nothing is lost.

The device plugin is trusted less than the agent, and writes the ledger and the kubelet's folder.
"""

import contextlib
import os
import queue
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest

from subfunction.errors import CheckpointUnreadable
from subfunction.kubelet import checkpoint
from subfunction.state.ledger import LedgerEntry, open_ledger
from subfunction.state.store import CorruptFile

T = TypeVar("T")

VAST: Final = 64 << 20
MODEST: Final = 32 << 20


def within(seconds: float, job: Callable[[], T], pipe: Path) -> T:
    """Do what may hang at opening a pipe; then the other end is opened, so that no thread is left."""
    answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def answered() -> None:
        try:
            answers.put(job())
        except Exception as error:  # noqa: BLE001  # carried to the caller, whatever it is
            answers.put(error)

    thread = threading.Thread(target=answered, daemon=True)
    thread.start()
    thread.join(seconds)
    hangs = thread.is_alive()
    with contextlib.suppress(OSError):  # nothing reads there
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    thread.join()
    assert not hangs, f"it hangs at {pipe.name}"
    answer = answers.get()
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextlib.contextmanager
def in_little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MODEST, f"{peak >> 20} MiB were read"


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a pipe in the ledger hangs each reader of its folder"
)
def test_a_pipe_in_the_ledger_is_unreadable(tmp_path: Path) -> None:
    folder, pipe = open_ledger(tmp_path), tmp_path / "uid-1.json"
    os.mkfifo(pipe)
    assert isinstance(within(0.5, lambda: folder.examine("uid-1"), pipe), CorruptFile)
    contents = within(0.5, folder.read_all, pipe)
    assert [file.uid for file in contents.unreadable] == ["uid-1"]


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a link in the ledger is followed, to wherever it leads"
)
def test_a_link_in_the_ledger_is_unreadable(tmp_path: Path) -> None:
    folder, elsewhere = open_ledger(tmp_path / "allocations"), open_ledger(tmp_path / "elsewhere")
    elsewhere.write(
        "uid-1", LedgerEntry(uid="uid-1", resource="subfunction.dev/mlx5", device_id="mlx5_core.sf.4", at=1.0)
    )
    folder.path.mkdir()
    (folder.path / "uid-1.json").symlink_to(elsewhere.path / "uid-1.json")
    assert isinstance(folder.examine("uid-1"), CorruptFile)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a file of the ledger is read whole, however large it is"
)
def test_a_vast_file_in_the_ledger_is_unreadable_and_not_read(tmp_path: Path) -> None:
    folder, file = open_ledger(tmp_path), tmp_path / "uid-1.json"
    file.touch()
    os.truncate(file, VAST)
    with in_little_memory():
        assert isinstance(folder.examine("uid-1"), CorruptFile)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a pipe in the checkpoint's place hangs the agent's one reader"
)
def test_a_pipe_in_the_checkpoints_place_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    os.mkfifo(path)
    with pytest.raises(CheckpointUnreadable):
        within(0.5, lambda: checkpoint.read_checkpoint(path), path)


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: the checkpoint is read whole, however large it is"
)
def test_a_vast_checkpoint_is_unreadable_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    path.touch()
    os.truncate(path, VAST)
    with in_little_memory(), pytest.raises(CheckpointUnreadable):
        checkpoint.read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [
        b'{"Data":NaN}',
        b'{"Data":{"v2":1}} trailing',
        b'{"Data":{"PodDeviceEntries":{"v2":1}}}',
        b'{"Data":{"PodDeviceEntries":[{"PodUID":"a","AllocResp":"***"}]}}',
        pytest.param(
            b'{"Data":{"PodDeviceEntries":[{"PodUID":"a\xff"}]}}',
            marks=pytest.mark.xfail(
                strict=True,
                raises=UnicodeDecodeError,
                reason="issue H: a byte that is no UTF-8 in the checkpoint is no error that anybody expects",
            ),
        ),
        pytest.param(
            b'{"later":' + b"[" * 200_000,
            marks=pytest.mark.xfail(
                strict=True,
                raises=RecursionError,
                reason="issue H: a checkpoint that is nested deeply is no error that anybody expects",
            ),
        ),
    ],
    ids=["NaN", "trailing", "of another form", "no base64", "no UTF-8", "nested deeply"],
)
def test_a_checkpoint_that_is_none_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(content)
    with pytest.raises(CheckpointUnreadable):
        checkpoint.read_checkpoint(path)
