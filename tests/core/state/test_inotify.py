"""What keeps the plugin from watching a folder, in words that say what to type."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from asyncinotify import Inotify, Mask, Watch

from rig.waiting import eventually
from subfunction.errors import FolderError
from subfunction.state.inotify import DirectoryWatch

LIMITS = [
    (errno.EMFILE, "sysctl fs.inotify.max_user_instances"),
    (errno.ENOSPC, "sysctl fs.inotify.max_user_watches"),
    (errno.EACCES, "ls -ld"),
]


class FullInotify(Inotify):
    """An inotify whose user has as many watches as the node allows."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def add_watch(self, path: os.PathLike[str] | bytes | str, mask: Mask) -> Watch:  # noqa: ARG002 - the real one's
        raise OSError(self.number, os.strerror(self.number))


def refusing(number: int) -> Callable[[], Inotify]:
    def open_inotify() -> Inotify:
        raise OSError(number, os.strerror(number))

    return open_inotify


@pytest.mark.parametrize("where", ["open", "add"])
@pytest.mark.parametrize(("number", "hint"), LIMITS)
async def test_a_limit_of_the_node_is_named_with_the_sysctl_that_lifts_it(
    tmp_path: Path, where: str, number: int, hint: str
) -> None:
    watch = DirectoryWatch(
        {tmp_path: lambda _: None}, inotify=refusing(number) if where == "open" else lambda: FullInotify(number)
    )
    with pytest.raises(FolderError, match="cannot watch") as refused:
        await asyncio.wait_for(watch.run(), 5)
    assert os.strerror(number) in str(refused.value)
    assert hint in refused.value.hint


async def test_a_folder_moved_away_and_removed_at_once_is_watched_again_when_it_is_back(tmp_path: Path) -> None:
    heard: list[str] = []
    (folder := tmp_path / "devices").mkdir()
    watching = asyncio.create_task(DirectoryWatch({folder: heard.append}).run())
    await eventually(lambda: heard == [""] or watching.done(), "the folder is watched")
    folder.rename(elsewhere := tmp_path / "elsewhere")
    elsewhere.rmdir()
    folder.mkdir()
    await eventually(lambda: heard.count("") > 1 or watching.done(), "the folder is watched again")
    (folder / "a.json").touch()
    await eventually(lambda: "a.json" in heard or watching.done(), "the file is told of")
    assert not watching.done(), watching.exception()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
