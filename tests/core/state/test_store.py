"""A folder of records: what a reader sees, whatever a writer, a crash or a stranger leaves there."""

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from subfunction.errors import FolderError
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record, State, open_records, read_boot_id
from subfunction.state.store import CorruptFile, FileStore

UID = "7f9c0a52-8d3e-4c1b-9c55-0a6f1d2e3b4c"


def record(uid: str = UID, *, name: str = "a", state: State = State.PREPARING) -> Record:
    claim = PortClaim(flavour="mlx5", parent="pci/0000:05:00.0", pf=0, number=88, mac_address="02:00:00:00:88:88")
    return Record(uid=uid, name=name, boot_id="b", state=state, claim=claim, resource="subfunction.dev/mlx5")


@pytest.fixture
def folder(tmp_path: Path) -> FileStore[Record]:
    return open_records(tmp_path / "devices")


def only_unreadable(folder: FileStore[Record]) -> CorruptFile:
    contents = folder.read_all()
    assert contents.items == {}
    (unreadable,) = contents.unreadable
    return unreadable


def put(folder: FileStore[Record], name: str, content: bytes) -> None:
    folder.path.mkdir(exist_ok=True)
    (folder.path / name).write_bytes(content)


def test_a_folder_that_is_not_there_is_empty(folder: FileStore[Record]) -> None:
    assert folder.read_all().items == {}
    assert folder.read(UID) is None
    folder.remove(UID)
    assert not folder.path.exists()


def test_what_was_written_is_read(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    assert folder.read(UID) == record()
    assert folder.read_all().items == {UID: record()}
    folder.write(UID, record(state=State.READY))
    assert folder.read(UID) == record(state=State.READY)


def test_a_record_is_for_root_alone_and_for_a_person_with_cat(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    file = folder.path / f"{UID}.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    text = file.read_text(encoding="utf-8")
    assert text.count("\n") > 5
    assert '"number": 88' in text


def test_removing_twice_is_success(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    folder.remove(UID)
    folder.remove(UID)
    assert folder.read_all().items == {}


@pytest.mark.parametrize("uid", ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a\0b", "a\n", "x" * 129, "ü"])
def test_what_is_no_uid_never_becomes_a_path(folder: FileStore[Record], uid: str) -> None:
    with pytest.raises(FolderError, match="is no uid"):
        folder.write(uid, record(uid))
    with pytest.raises(FolderError, match="is no uid"):
        folder.read(uid)
    with pytest.raises(FolderError, match="is no uid"):
        folder.remove(uid)
    assert not folder.path.exists()


def test_a_file_torn_anywhere_is_reported_and_the_others_are_read(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    whole = (folder.path / f"{UID}.json").read_bytes()
    for length in range(0, len(whole.rstrip()), 7):
        put(folder, "torn.json", whole[:length])
        contents = folder.read_all()
        assert list(contents.items) == [UID]
        assert [unreadable.uid for unreadable in contents.unreadable] == ["torn"]
        assert folder.read("torn") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b"null", "Expected `object`"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field"),
        (b'{"later": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_record_is_reported_with_what_is_wrong(folder: FileStore[Record], content: bytes, why: str) -> None:
    put(folder, f"{UID}.json", content)
    assert why in only_unreadable(folder).why


def test_a_record_of_a_later_schema_is_reported_and_left_alone(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    file = folder.path / f"{UID}.json"
    later = file.read_bytes().replace(b'"schema": 1', b'"schema": 2')
    file.write_bytes(later)
    assert only_unreadable(folder).why == "schema 2, and this program knows 1"
    assert file.read_bytes() == later


def test_a_record_under_another_ones_name_is_reported(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    (folder.path / f"{UID}.json").rename(folder.path / "other.json")
    assert only_unreadable(folder).why == f"is of {UID}, not of the uid it is named by"


def test_a_directory_in_a_records_place_is_reported(folder: FileStore[Record]) -> None:
    (folder.path / f"{UID}.json").mkdir(parents=True)
    assert "cannot be read" in only_unreadable(folder).why


def test_what_an_interrupted_writer_left_is_no_record_and_in_nobodys_way(folder: FileStore[Record]) -> None:
    put(folder, f"{UID}.tmp", b'{"schema": 1, "uid": "7f9c')
    assert folder.read_all().items == {}
    assert folder.read_all().unreadable == ()
    folder.write(UID, record())
    assert [path.name for path in folder.path.iterdir()] == [f"{UID}.json"]


def test_an_unreadable_file_set_aside_is_kept_and_never_overwritten(folder: FileStore[Record]) -> None:
    contents = [b"first", b"second", b"third"]
    moved = []
    for content in contents:
        put(folder, f"{UID}.json", content)
        moved.append(folder.quarantine(only_unreadable(folder)))
    assert [path.read_bytes() for path in moved] == contents
    assert folder.read_all().unreadable == ()


def test_a_file_that_somebody_else_moved_aside_meanwhile_is_aside(folder: FileStore[Record]) -> None:
    put(folder, f"{UID}.json", b"?")
    unreadable = only_unreadable(folder)
    folder.remove(UID)
    folder.quarantine(unreadable)
    assert folder.read_all().unreadable == ()


@contextmanager
def disk_full(after: int) -> Iterator[None]:
    """Let files grow no larger than `after` bytes: what a full disk is to a writer, without one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_an_error_with_a_hint_and_the_old_record_stays(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    with disk_full(after=64), pytest.raises(FolderError, match="cannot write") as full:
        folder.write(UID, record(state=State.READY))
    assert f"df {folder.path}" in full.value.hint
    assert folder.read(UID) == record()
    assert [path.name for path in folder.path.iterdir()] == [f"{UID}.json"]


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "devices").write_text("no folder", encoding="ascii")
    with pytest.raises(FolderError, match="cannot write"):
        open_records(tmp_path / "devices").write(UID, record())


def test_a_reader_beside_a_writer_sees_whole_records_only(folder: FileStore[Record]) -> None:
    folder.write(UID, record(name="0"))
    ended = threading.Event()

    def write() -> None:
        for number in range(60):
            folder.write(UID, record(name="x" * (number * 131 % 4000)))
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    readings = 0
    while not ended.is_set():
        contents = folder.read_all()
        assert contents.unreadable == ()
        assert list(contents.items) == [UID]
        readings += 1
    writer.join()
    assert readings > 0


WRITER = """
import sys
from pathlib import Path
import msgspec
from subfunction.state.records import Record, open_records
folder = open_records(Path(sys.argv[1]))
record = folder.read(sys.argv[2])
print("ready", flush=True)
number = 0
while True:
    number += 1
    folder.write(sys.argv[2], msgspec.structs.replace(record, name=str(number) * (number * 37 % 5000)))
"""


def test_a_writer_killed_at_any_moment_leaves_the_old_record_or_the_new(folder: FileStore[Record]) -> None:
    folder.write(UID, record())
    for written in (2, 11):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder.path), UID], stdout=subprocess.PIPE, env=os.environ
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        seen: set[int] = set()
        while len(seen) < written:
            seen.add((folder.path / f"{UID}.json").stat().st_mtime_ns)
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        contents = folder.read_all()
        assert contents.unreadable == ()
        assert list(contents.items) == [UID]


def test_a_boot_that_cannot_be_told_from_another_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "boot_id").write_text("5f0c\n", encoding="ascii")
    assert read_boot_id(tmp_path / "boot_id") == "5f0c"
    with pytest.raises(FolderError, match=f"{tmp_path / 'none'}: No such file"):
        read_boot_id(tmp_path / "none")
