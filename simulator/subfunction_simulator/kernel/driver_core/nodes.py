"""Device nodes stand below `dev/`, and the kernel knows their users.

The nodes are real character devices where the process may make them (mknod needs CAP_MKNOD), and empty files elsewhere:
no simulated program opens one, but a container runtime looks at its type. The kernel is told here of each open(2) and
close(2).
"""

import errno
import os
import stat
from pathlib import Path

from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work


class Node:
    """A character device has a name below `/dev` and a number; `exclusive` ones are opened once at a time."""

    def __init__(self, name: str, major: int, minor: int, *, exclusive: bool = False) -> None:
        self.name = name
        self.number = f"{major}:{minor}"
        self.exclusive = exclusive
        self._opened = 0
        self._closed = no_work()

    @property
    def is_open(self) -> bool:
        """Say whether it is open."""
        return bool(self._opened)

    def await_close(self) -> PendingWork:
        """Give the work that ends when the last user has closed it."""
        return self._closed

    def note_open(self) -> None:
        """Take note of an open(2).

        Raises:
            OSError: EBUSY, since it is open.
        """
        if self.exclusive and self._opened:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self.name)
        if not self._opened:
            self._closed = PendingWork()
        self._opened += 1

    def note_close(self) -> None:
        """Take note of a close(2)."""
        self._opened -= 1
        if not self._opened:
            self._closed.end()


class Nodes:
    """A node without its file stays open for its users."""

    def __init__(self, dev: Path) -> None:
        self._dev = dev
        self._nodes: dict[str, Node] = {}
        self._open: list[Node] = []

    def add(self, name: str, major: int, minor: int, *, exclusive: bool = False) -> Node:
        """Make a node."""
        self._nodes[name] = node = Node(name, major, minor, exclusive=exclusive)
        path = f"{self._dev}/{name}"
        os.makedirs(path.rpartition("/")[0], exist_ok=True)  # noqa: PTH103  # pathlib costs more than the kernel does
        Path(path).unlink(missing_ok=True)
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            Path(path).chmod(0o666)  # whatever the umask is
        except PermissionError:
            Path(path).touch()
        return node

    def remove(self, node: Node) -> None:
        """Take a node's file away, so that it cannot be opened any more."""
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]
            (self._dev / node.name).unlink(missing_ok=True)

    def open(self, name: str) -> Node:
        """Open a node, exclusively where it is such a one.

        Raises:
            FileNotFoundError: it is not there.
            OSError: EBUSY, since it is open.
        """
        if name not in self._nodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        node = self._nodes[name]
        node.note_open()
        self._open.append(node)
        return node

    def close(self, node: Node | str) -> None:
        """Close a node, by its name where it may be gone; one that was closed with the machine is closed already."""
        found = next((each for each in self._open if node in (each, each.name)), None)
        if found is not None:
            self._open.remove(found)
            found.note_close()

    def close_all(self) -> None:
        """Close every node: their users are gone."""
        for node in tuple(self._open):
            self.close(node)

    def clear(self) -> None:
        """Take every node away."""
        for node in tuple(self._nodes.values()):
            self.remove(node)


def lowest_free(taken: set[int], first: int = 0) -> int:
    """Give the lowest number that is not taken, as the kernel's ida does."""
    return next(number for number in range(first, first + len(taken) + 1) if number not in taken)
