"""Device nodes below `dev/`, and who has them open.

The nodes are real character devices where the process may make them (mknod needs CAP_MKNOD), and empty files elsewhere:
no simulated program opens one, but a container runtime looks at its type. Who has one open is said to the kernel here.
"""

import errno
import os
import stat
from pathlib import Path

from subfunction_simulator.kernel.work import Work, done


class Node:
    """A character device: its name below `/dev` and its number; `exclusive` ones are opened once at a time."""

    def __init__(self, name: str, major: int, minor: int, *, exclusive: bool = False) -> None:
        self.name = name
        self.number = f"{major}:{minor}"
        self.exclusive = exclusive
        self._opened = 0
        self._closed = done()

    @property
    def is_open(self) -> bool:
        """Whether somebody has it open."""
        return bool(self._opened)

    def closed(self) -> Work:
        """Give the work that ends when nobody has it open any more."""
        return self._closed

    def opened(self) -> None:
        """Take note of an open(2).

        Raises:
            OSError: EBUSY, since somebody has it open.
        """
        if self.exclusive and self._opened:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), self.name)
        if not self._opened:
            self._closed = Work()
        self._opened += 1

    def released(self) -> None:
        """Take note of a close(2)."""
        self._opened -= 1
        if not self._opened:
            self._closed.end()


class Nodes:
    """All nodes of the machine; a node whose file is gone stays open for whoever opened it."""

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
        """Take a node's file away: nobody opens it any more."""
        if self._nodes.get(node.name) is node:
            del self._nodes[node.name]
            (self._dev / node.name).unlink(missing_ok=True)

    def open(self, name: str) -> Node:
        """Open a node, exclusively where it is such a one.

        Raises:
            FileNotFoundError: it is not there.
            OSError: EBUSY, since somebody has it open.
        """
        if name not in self._nodes:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        node = self._nodes[name]
        node.opened()
        self._open.append(node)
        return node

    def close(self, node: Node | str) -> None:
        """Close a node, by its name where it may be gone; one that was closed with the machine is closed already."""
        found = next((each for each in self._open if node in (each, each.name)), None)
        if found is not None:
            self._open.remove(found)
            found.released()

    def close_all(self) -> None:
        """Close every node: whoever had one open is gone."""
        for node in tuple(self._open):
            self.close(node)

    def clear(self) -> None:
        """Take every node away."""
        for node in tuple(self._nodes.values()):
            self.remove(node)


def lowest_free(taken: set[int], first: int = 0) -> int:
    """Give the lowest number that is not taken, as the kernel's ida does."""
    return next(number for number in range(first, first + len(taken) + 1) if number not in taken)
