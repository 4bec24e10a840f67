"""Network devices: names, numbers, addresses, and their directories in sysfs."""

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import IFF_UP
from subfunction_simulator.kernel.tree import Tree
from subfunction_simulator.kernel.uapi import IFF_BROADCAST, IFF_MULTICAST

if TYPE_CHECKING:
    from subfunction_simulator.kernel.instance import Port

_DOWN = IFF_BROADCAST | IFF_MULTICAST


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a driver says of a device: without a name it is the first free `ethN`, without an address a random one."""

    name: str | None = None
    mac: Mac | None = None
    phys_port_name: str | None = None
    switch_id: str | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Netdev:
    """One network device; `parent` is the sysfs path of its device, `namespace` None at home."""

    name: str
    ifindex: int
    parent: str
    mac: Mac
    port: "Port"
    phys_port_name: str | None = None
    switch_id: str | None = None
    mtu: int = 1500
    flags: int = _DOWN
    namespace: str | None = None

    @property
    def path(self) -> str:
        """Its directory."""
        return f"{self.parent}/net/{self.name}"

    @property
    def up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & IFF_UP)


class Netdevs:
    """All network devices, of every namespace."""

    def __init__(self, tree: Tree, outside: Path, seed: int) -> None:
        self._tree = tree
        self._outside = outside / "namespaces"
        self._random = random.Random(seed)  # noqa: S311  # every run alike is the point
        self._next_ifindex = 2
        self._devices: list[Netdev] = []

    def __iter__(self) -> Iterator[Netdev]:
        return iter(self._devices)

    def random_mac(self) -> Mac:
        """Choose an address as a driver does that was given none."""
        return Mac(bytes([0x02 | self._random.randrange(256) & ~1, *self._random.randbytes(5)]))

    def add(self, parent: str, port: "Port", looks: Looks) -> Netdev:
        """Register a device below `parent`."""
        netdev = Netdev(
            name=looks.name or self._free_name(),
            ifindex=self._next_ifindex,
            parent=parent,
            mac=looks.mac if looks.mac and not looks.mac.unset else self.random_mac(),
            port=port,
            phys_port_name=looks.phys_port_name,
            switch_id=looks.switch_id,
        )
        self._next_ifindex += 1
        self._devices.append(netdev)
        self._show(netdev)
        return netdev

    def remove(self, netdev: Netdev) -> None:
        """Unregister a device, wherever it is."""
        self._devices.remove(netdev)
        if netdev.namespace is None:
            self._tree.unlink(f"class/net/{netdev.name}")
            self._tree.bury(netdev.path)
        self._tree.bury_if_empty(f"{netdev.parent}/net")

    def find(self, name: str) -> Netdev:
        """Give the device of that name in the host's namespace."""
        return next(netdev for netdev in self._devices if netdev.name == name and netdev.namespace is None)

    def leave(self, netdev: Netdev, namespace: str) -> None:
        """Move a device to another namespace: its directory is no longer seen here, and keeps its inode."""
        self._tree.unlink(f"class/net/{netdev.name}")
        self._tree.move_out(netdev.path, self._outside / str(netdev.ifindex))
        netdev.namespace = namespace
        netdev.flags = _DOWN

    def come_back(self, netdev: Netdev) -> None:
        """Return a device from a namespace that died: down, with the pod's MTU, renamed where its name is taken."""
        if any(other.name == netdev.name and other.namespace is None for other in self._devices):
            netdev.name = f"dev{netdev.ifindex}"
        netdev.namespace = None
        netdev.flags = _DOWN
        self._tree.move_in(self._outside / str(netdev.ifindex), netdev.path)
        self._show(netdev)

    def rename(self, netdev: Netdev, new: str) -> None:
        """Rename a device; its directory moves and keeps its inode."""
        self._tree.unlink(f"class/net/{netdev.name}")
        shelter = self._outside / str(netdev.ifindex)
        self._tree.move_out(netdev.path, shelter)
        netdev.name = new
        self._tree.move_in(shelter, netdev.path)
        self._show(netdev)

    def _free_name(self) -> str:
        taken = {netdev.name for netdev in self._devices if netdev.namespace is None}
        return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)

    def _show(self, netdev: Netdev) -> None:
        fixed: dict[str, str | int] = {
            "ifindex": netdev.ifindex,
            "iflink": netdev.ifindex,
            "type": 1,
            "addr_len": 6,
            "dev_id": "0x0",
            "dev_port": 0,
            "uevent": f"INTERFACE={netdev.name}\nIFINDEX={netdev.ifindex}",
        }
        if netdev.phys_port_name is not None:
            fixed["phys_port_name"] = netdev.phys_port_name
        if netdev.switch_id is not None:
            fixed["phys_switch_id"] = netdev.switch_id
        self._tree.directory(netdev.path, fixed)
        if not (self._tree.root / netdev.path / "device").is_symlink():
            self._tree.link(f"{netdev.path}/device", netdev.parent)
            self._tree.link(f"{netdev.path}/subsystem", "class/net")
        self._tree.link(f"class/net/{netdev.name}", netdev.path)
        self._refresh(netdev)
        self._tree.attribute(f"{netdev.path}/flags", hex(netdev.flags), on_write=lambda text: self._flags(netdev, text))
        self._tree.attribute(f"{netdev.path}/mtu", netdev.mtu, on_write=lambda text: self._mtu(netdev, text))

    def _flags(self, netdev: Netdev, text: str) -> None:
        flags = int(text, 0)
        if flags != netdev.flags:
            netdev.flags = flags
            self._refresh(netdev)

    def _mtu(self, netdev: Netdev, text: str) -> None:
        mtu = int(text, 0)
        if mtu != netdev.mtu:
            netdev.mtu = mtu

    def _refresh(self, netdev: Netdev) -> None:
        state: dict[str, str | int] = {
            "address": str(netdev.mac),
            "operstate": "up" if netdev.up else "down",
            "carrier": int(netdev.up),
        }
        self._tree.directory(netdev.path, state)
