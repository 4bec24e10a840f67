"""What keeps the plugin from watching a folder, in words that say what to type."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from asyncinotify import Inotify, Mask, Watch

from subfunction.errors import FolderError
from subfunction_deviceplugin.watch import FolderWatch

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
    root: Path, where: str, number: int, hint: str
) -> None:
    watch = FolderWatch(
        {root: lambda _: None}, inotify=refusing(number) if where == "open" else lambda: FullInotify(number)
    )
    with pytest.raises(FolderError, match="cannot watch") as refused:
        await asyncio.wait_for(watch.run(), 5)
    assert os.strerror(number) in str(refused.value)
    assert hint in refused.value.hint
