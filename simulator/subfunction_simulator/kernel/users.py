"""What pods, udev and people do with devices: they open them, take netdevs away, and rename them."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from subfunction.kernel.uapi import IFF_UP
from subfunction_simulator.kernel.board import Board
from subfunction_simulator.kernel.netdev import Netdev
from subfunction_simulator.kernel.nodes import Node


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A node that somebody has open."""

    board: "Users"
    node: Node

    def close(self) -> None:
        """Close it; once is enough."""
        self.board.close(self.node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Users(Board):
    """Verbs that act now, and from any thread."""

    def hold_open(self, name: str) -> Held:
        """Open a node below `/dev` as its user does (`vhost-vdpa-0`, `vfio/9`); closed by `close`, or by a `with`.

        Raises:
            FileNotFoundError: there is no such node.
            OSError: EBUSY, since somebody else has it open.
        """
        with self.lock:
            return Held(self, self.machine.nodes.open(name))

    def close(self, node: Node | str) -> None:
        """Close a node, by its name wherever it went meanwhile; whatever waited for that goes on."""
        with self.lock:
            self.machine.nodes.close(node)
            self.lock.notify_all()

    def move_netdev(self, name: str, namespace: str = "pod") -> None:
        """Move a netdev out of the host's namespace (`ip link set NAME netns pod`)."""
        with self._announced(name) as netdev:
            self.machine.netdevs.leave(netdev, namespace)

    def namespace_ends(self, namespace: str = "pod", *, mtu: int | None = None) -> list[str]:
        """Return the netdevs of a namespace that died, and give their names; the pod had set `mtu`."""
        names = []
        with self.lock:
            for netdev in self.machine.netdevs:
                if netdev.namespace == namespace:
                    netdev.mtu = mtu or netdev.mtu
                    self.machine.netdevs.come_back(netdev)
                    if netdev.port is not None:
                        netdev.port.tell()
                    names.append(netdev.name)
        return names

    def rename_netdev(self, name: str, new: str) -> None:
        """Rename a netdev, as udev does."""
        with self._announced(name) as netdev:
            self.machine.netdevs.rename(netdev, new)

    def set_netdev_up(self, name: str, *, up: bool) -> None:
        """Set a netdev up or down (`ip link set NAME down`)."""
        with self.lock:
            netdev = self.machine.netdevs.find(name)
            self.machine.netdevs.set_flags(netdev, netdev.flags | IFF_UP if up else netdev.flags & ~IFF_UP)

    @contextmanager
    def _announced(self, name: str) -> Iterator[Netdev]:
        with self.lock:
            netdev = self.machine.netdevs.find(name)
            yield netdev
            if netdev.port is not None:
                netdev.port.tell()
