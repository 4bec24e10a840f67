"""The simulated kernel keeps sysfs as a real directory tree.

Two things differ from a file system of the kernel's own. kernfs never gives a re-created directory an inode it used
before, and a disk does at once; so a directory that goes is moved to a graveyard beside the tree and keeps its inode
until the simulation ends. And an attribute here is a plain file, so the kernel hears of a write from its writer
(`take_write`): the in-process `Sysfs` says so itself, the server is told by inotify.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from subfunction.kernel.sysfs import SysfsTree, sysfs_error
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork
from subfunction_simulator.kernel.netlink.wire import Refusal

BOOT_ID = "boot_id"
_GRAVEYARD = "graveyard"
_STAGED: Final = "staged"
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC

Heard: TypeAlias = Callable[[str], PendingWork | None]
"""Acts on what was written, and gives the work that the writer waits for."""


class Tree:
    """The tree stands below `root/sys`; paths are relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "sys"
        self._top = str(self.root)
        self.on_writable: Callable[[str], None] = lambda _: None
        """Called with the path of each attribute that user space may write, as it appears."""
        self._graveyard = root / _GRAVEYARD
        self._staged = str(self._graveyard / _STAGED)
        self._buried = 0
        self._writable: dict[str, Heard] = {}
        self._shown: dict[str, str] = {}
        """What stands in those that can be written, by the kernel's hand or a user's."""
        if self.root.exists() and not (root / BOOT_ID).exists():
            raise FileExistsError(f"{root} is not a simulated kernel's folder: it has a sys/ and no {BOOT_ID}")
        # What an earlier simulation left here is not wanted.
        for leftover in (self.root, self._graveyard, root / "dev", root / "namespaces"):
            shutil.rmtree(leftover, ignore_errors=True)
        self.root.mkdir(parents=True)
        self._graveyard.mkdir()

    def directory(self, path: str, attributes: Mapping[str, str | int] = {}) -> None:
        """Make a directory, its parents too, with attributes in it."""
        # Plain system calls, and few: a node has some hundred files, and tests make hundreds of nodes.
        if not attributes:
            self._make(path)
        for name, value in attributes.items():
            self._put(f"{path}/{name}", f"{value}\n")

    def attribute(self, path: str, value: str | int, *, on_write: Heard | None = None) -> None:
        """Set an attribute; `on_write` is called with what user space writes to it."""
        self._put(path, f"{value}\n")
        if on_write is not None:
            self._shown[path] = f"{value}\n"
            self._listen(path, on_write)

    def trigger(self, path: str, on_write: Heard) -> None:
        """Make an attribute that can be written alone; nothing stays in it."""

        def hear(text: str) -> PendingWork | None:
            # In its place: a writer has opened this very file.
            os.truncate(f"{self._top}/{path}", 0)
            self._shown[path] = ""
            return on_write(text) if text else None

        self._put(path, "")
        self._listen(path, hear)

    def _listen(self, path: str, heard: Heard) -> None:
        self._writable[path] = heard
        self.on_writable(path)

    def _make(self, path: str) -> None:
        try:
            os.mkdir(f"{self._top}/{path}")  # noqa: PTH102
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make(path.rpartition("/")[0])
            os.mkdir(f"{self._top}/{path}")  # noqa: PTH102

    def _put(self, path: str, text: str) -> None:
        # By renaming, so that a reader finds the old text or the new one, and a watcher of the directory for
        # files that were written to hears of user space alone.
        descriptor = os.open(self._staged, _WRITE, 0o644)
        os.write(descriptor, text.encode())
        os.close(descriptor)
        try:
            os.rename(self._staged, f"{self._top}/{path}")  # noqa: PTH104
        except FileNotFoundError:
            self._make(path.rpartition("/")[0])
            os.rename(self._staged, f"{self._top}/{path}")  # noqa: PTH104
        if path in self._writable:
            self._shown[path] = text

    def link(self, path: str, target: str) -> None:
        """Make a relative symbolic link to `target`, both paths being relative to the root."""
        directory = path.rpartition("/")[0]
        source = os.path.relpath(f"/{target}", f"/{directory}")
        try:
            os.symlink(source, f"{self._top}/{path}")  # noqa: PTH211
        except FileNotFoundError:
            self._make(directory)
            os.symlink(source, f"{self._top}/{path}")  # noqa: PTH211

    def unlink(self, path: str) -> None:
        """Remove a link or an attribute; one that is gone already is no error."""
        (self.root / path).unlink(missing_ok=True)
        self._writable.pop(path, None)
        self._shown.pop(path, None)

    def bury(self, path: str) -> None:
        """Remove a directory with everything below it at once; its inodes stay in use."""
        self._buried += 1
        self.move_out(path, self._graveyard / str(self._buried))

    def bury_if_empty(self, path: str) -> None:
        """Remove a directory that holds its devices' directories (`net`), as the kernel does with the last of them."""
        if (self.root / path).is_dir() and not any((self.root / path).iterdir()):
            self.bury(path)

    def move_out(self, path: str, outside: Path) -> None:
        """Take a directory out of the tree; it keeps its inode."""
        if (self.root / path).exists():
            outside.parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).rename(outside)
        for name in [name for name in self._writable if name.startswith(f"{path}/")]:
            del self._writable[name]
            self._shown.pop(name, None)

    def move_in(self, outside: Path, path: str) -> None:
        """Put a directory back into the tree."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        outside.rename(self.root / path)

    def writable(self) -> list[str]:
        """List the attributes that user space may write."""
        return list(self._writable)

    def names(self) -> list[str]:
        """List the top of the tree."""
        return [entry.name for entry in self.root.iterdir()]

    def take_write(self, path: str, text: str) -> PendingWork | None:
        """Take note of what user space wrote; other attributes are not ours to hear of.

        Raises:
            Refusal: what write(2) fails with.
        """
        react = self._writable.get(path)
        if react is None:
            return None
        self._shown[path] = text
        return react(text.strip())

    def look(self, path: str) -> PendingWork | None:
        """Find out what user space wrote to a file, if anything but what stands there already; see `take_write`."""
        if path not in self._writable:
            return None
        text = (self.root / path).read_text(encoding="utf-8")
        # Nothing at all is a file between its opening and the writing.
        return self.take_write(path, text) if text and text != self._shown.get(path) else None


class WatchedSysfs(SysfsTree):
    """An agent in this process sees the tree this way: a write has acted when it returns, and may be refused."""

    def __init__(self, tree: Tree, hear: Callable[[str, str], None]) -> None:
        super().__init__(tree.root)
        self._hear = hear

    def write(self, path: str, text: str) -> None:
        """Write an attribute, and let the kernel act on it; waits as long as the kernel does."""
        resolved = self.resolve(path)
        super().write(path, text)
        if resolved is None:
            return
        try:
            self._hear(resolved, text)
        except Refusal as refused:
            operation = f"write {text.strip()!r} to {self.root}/{path}"
            raise sysfs_error(operation, OSError(refused.errno, os.strerror(refused.errno))) from refused
