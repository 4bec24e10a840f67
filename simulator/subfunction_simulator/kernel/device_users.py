"""Pods, udev and people use devices: they open them, take netdevs away, and rename them."""

import dataclasses
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from subfunction.kernel.rdma import are_namespaces_shared
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.uapi import IFF_UP
from subfunction_simulator.kernel.driver_core.nodes import Node
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.network.netdev import Netdev


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A user has a node open."""

    users: "DeviceUsers"
    node: Node

    def close(self) -> None:
        """Close it; once is enough."""
        self.users.close(self.node)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DeviceUsers(Machine):
    """Device users act at once, from any thread."""

    def hold_open(self, name: str) -> Held:
        """Open a node below `/dev` as its user does (`vhost-vdpa-0`, `vfio/9`); closed by `close`, or by a `with`.

        Raises:
            FileNotFoundError: there is no such node.
            OSError: EBUSY, since another user has it open.
        """
        with self.lock:
            return Held(self, self.hardware.nodes.open(name))

    def close(self, node: Node | str) -> None:
        """Close a node, by its name wherever it went meanwhile; what waited for that goes on."""
        with self.lock:
            self.hardware.nodes.close(node)
            self.lock.notify_all()

    def move_netdev(self, name: str, namespace: str = "pod") -> None:
        """Move a netdev out of the host's namespace (`ip link set NAME netns pod`).

        Raises:
            OSError: EINVAL, since it is a representor of mlx5.
        """
        with self._announce_after(name) as netdev:
            if netdev.keeps_namespace:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
            self.hardware.netdevs.leave(netdev, namespace)

    def move_rdma(self, name: str, namespace: str | None = "pod") -> None:
        """Move an RDMA device to another namespace, or back (`rdma dev set NAME netns pod`).

        Raises:
            OSError: EOPNOTSUPP, since all namespaces share the RDMA devices.
        """
        with self.lock:
            if are_namespaces_shared(SysfsTree(self.tree.root)) is not False:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), name)
            self.hardware.rdma.move(self.hardware.rdma.find(name), namespace)

    def namespace_ends(self, namespace: str = "pod", *, mtu: int | None = None) -> list[str]:
        """Return the devices of a namespace that died, and give the netdevs' names; the pod had set `mtu`."""
        names = []
        with self.lock:
            for rdma in self.hardware.rdma.of_namespace(namespace):
                self.hardware.rdma.move(rdma, None)
            for netdev in self.hardware.netdevs:
                if netdev.namespace == namespace:
                    netdev.mtu = mtu or netdev.mtu
                    self.hardware.netdevs.come_back(netdev)
                    if netdev.port is not None:
                        netdev.port.tell()
                    names.append(netdev.name)
        return names

    def rename_netdev(self, name: str, new: str) -> None:
        """Rename a netdev, as udev does."""
        with self._announce_after(name) as netdev:
            self.hardware.netdevs.rename(netdev, new)

    def add_alternative_name(self, name: str, alternative: str) -> None:
        """Give a netdev a further name, as udev does (`ip link property add dev NAME altname ALTERNATIVE`)."""
        with self._announce_after(name) as netdev:
            netdev.alternative_names = (*netdev.alternative_names, alternative)

    def set_netdev_up(self, name: str, *, up: bool) -> None:
        """Set a netdev up or down (`ip link set NAME down`)."""
        with self.lock:
            netdev = self.hardware.netdevs.find(name)
            self.hardware.netdevs.set_flags(netdev, netdev.flags | IFF_UP if up else netdev.flags & ~IFF_UP)

    @contextmanager
    def _announce_after(self, name: str) -> Iterator[Netdev]:
        with self.lock:
            netdev = self.hardware.netdevs.find(name)
            yield netdev
            if netdev.port is not None:
                netdev.port.tell()
