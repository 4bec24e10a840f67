"""The kernel keeps all network devices: names, numbers, sysfs, and what is announced of them."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import NetlinkProtocol
from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.announce import Announcer
from subfunction_simulator.kernel.netlink.uapi import RTNLGRP_LINK, RouteMessage
from subfunction_simulator.kernel.netlink.wire import EINVAL, Refusal
from subfunction_simulator.kernel.network.link import link
from subfunction_simulator.kernel.network.netdev import DOWN, Looks, Netdev, ShowingPort

_NET: Final = "class/net"
VIRTUAL: Final = "devices/virtual"


class Netdevs:
    """The kernel keeps the network devices of every namespace."""

    def __init__(self, devices: Devices, announcer: Announcer, outside: Path, seed: int) -> None:
        self._devices = devices
        self._tree = devices.tree
        self._announcer = announcer
        self._outside = outside / "namespaces"
        self._random = random.Random(seed)  # noqa: S311  # every run alike is the point
        self._next_ifindex = 2
        self._present: list[Netdev] = []

    def __iter__(self) -> Iterator[Netdev]:
        return iter(tuple(self._present))

    def random_mac(self) -> Mac:
        """Choose an address as a driver does that was given none."""
        return Mac(bytes([0x02 | self._random.randrange(256) & ~1, *self._random.randbytes(5)]))

    def add(self, parent: str, port: ShowingPort | None, looks: Looks) -> Netdev:
        """Register a device below `parent`."""
        netdev = Netdev(
            name=looks.name or self._free_name(),
            ifindex=self._next_ifindex,
            parent=parent,
            mac=looks.mac if looks.mac and not looks.mac.unset else self.random_mac(),
            port=port,
            phys_port_name=looks.phys_port_name,
            switch_id=looks.switch_id,
            kind=looks.kind,
            keeps_address=looks.keeps_address,
            keeps_namespace=looks.keeps_namespace,
            highest_mtu=looks.highest_mtu,
            mtu=looks.mtu,
        )
        self._next_ifindex += 1
        self._present.append(netdev)
        self._show(netdev)
        self.announce(netdev)
        return netdev

    def remove(self, netdev: Netdev) -> None:
        """Unregister a device, wherever it is."""
        for slave in self:
            if slave.master is netdev:
                self.enslave(slave, None)
        self._present.remove(netdev)
        if netdev.namespace is None:
            self._hide_master(netdev)
            self.announce(netdev, RouteMessage.DELLINK)
            self._devices.remove(netdev.path, _NET, *_words(netdev))
        self._tree.bury_if_empty(f"{netdev.parent}/net")

    def find(self, name: str) -> Netdev:
        """Give the device of that name in the host's namespace."""
        return next(netdev for netdev in self._present if netdev.name == name and netdev.namespace is None)

    def leave(self, netdev: Netdev, namespace: str) -> None:
        """Move a device to another namespace: its directory is no longer seen here, and keeps its inode."""
        self.enslave(netdev, None)
        self.announce(netdev, RouteMessage.DELLINK)
        self._tree.unlink(f"{_NET}/{netdev.name}")
        self._tree.move_out(netdev.path, self._outside / str(netdev.ifindex))
        self._devices.tell("remove", netdev.path, _NET, *_words(netdev))
        netdev.namespace = namespace
        netdev.flags = DOWN

    def come_back(self, netdev: Netdev) -> None:
        """Return a device from a namespace that died: down, with the pod's MTU, renamed where its name is taken."""
        if any(other.name == netdev.name and other.namespace is None for other in self._present):
            netdev.name = f"dev{netdev.ifindex}"
        netdev.namespace = None
        netdev.flags = DOWN
        self._tree.move_in(self._outside / str(netdev.ifindex), netdev.path)
        self._attributes(netdev)
        self._tree.link(f"{_NET}/{netdev.name}", netdev.path)
        self._devices.tell("add", netdev.path, _NET, *_words(netdev))
        self.announce(netdev)

    def rename(self, netdev: Netdev, new: str) -> None:
        """Rename a device; its directory moves and keeps its inode."""
        old, master = netdev.path, netdev.master
        self._hide_master(netdev)
        self._tree.unlink(f"{_NET}/{netdev.name}")
        shelter = self._outside / str(netdev.ifindex)
        self._tree.move_out(old, shelter)
        netdev.name = new
        self._tree.move_in(shelter, netdev.path)
        self._attributes(netdev)
        self._tree.link(f"{_NET}/{new}", netdev.path)
        self._show_master(netdev, master)
        self._devices.tell("move", netdev.path, _NET, f"DEVPATH_OLD=/{old}", *_words(netdev))
        self.announce(netdev)

    def set_mac(self, netdev: Netdev, mac: Mac) -> None:
        """Change an address."""
        netdev.mac = mac
        self._refresh(netdev)
        self.announce(netdev)

    def set_mtu(self, netdev: Netdev, mtu: int) -> None:
        """Change an MTU."""
        if mtu != netdev.mtu:
            netdev.mtu = mtu
            self._tree.directory(netdev.path, {"mtu": mtu})
            self.announce(netdev)

    def set_flags(self, netdev: Netdev, flags: int) -> None:
        """Change flags; a device that is up has a carrier here."""
        if flags != netdev.flags:
            changed, netdev.flags = flags ^ netdev.flags, flags
            self._tree.directory(netdev.path, {"flags": hex(flags)})
            self._refresh(netdev)
            self.announce(netdev, changed=changed)

    def set_switch(self, netdev: Netdev, switch_id: str | None) -> None:
        """Make a device a port of a switch, or of none."""
        netdev.switch_id = switch_id
        if netdev.namespace is None:
            self._refresh(netdev)

    def enslave(self, netdev: Netdev, master: Netdev | None) -> None:
        """Make a device a port of a bridge, or of none."""
        if master is not netdev.master:
            self._hide_master(netdev)
            netdev.master = None
            self._show_master(netdev, master)
            self.announce(netdev)

    def announce(
        self, netdev: Netdev, message: RouteMessage = RouteMessage.NEWLINK, *, changed: int = 0xFFFFFFFF
    ) -> None:
        """Tell rtnetlink's group of a device of this namespace."""
        if self._announcer.heard(NetlinkProtocol.ROUTE, RTNLGRP_LINK):
            datagram = wire.message(message, 0, 0, 0, link(netdev, changed))
            self._announcer.send(NetlinkProtocol.ROUTE, RTNLGRP_LINK, datagram)

    def _free_name(self) -> str:
        taken = {netdev.name for netdev in self._present if netdev.namespace is None}
        return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)

    def _show(self, netdev: Netdev) -> None:
        fixed: dict[str, str | int] = {"ifindex": netdev.ifindex, "iflink": netdev.ifindex, "type": 1, "addr_len": 6}
        if netdev.phys_port_name is not None:
            fixed["phys_port_name"] = netdev.phys_port_name
        self._attributes(netdev)
        if netdev.kind is None:
            self._tree.link(f"{netdev.path}/device", netdev.parent)
        self._devices.add(netdev.path, _NET, fixed, *_words(netdev))

    def _attributes(self, netdev: Netdev) -> None:
        """Show what changes, below the name that the device has now."""
        path = netdev.path
        self._tree.attribute(f"{path}/flags", hex(netdev.flags), on_write=lambda t: self.set_flags(netdev, _number(t)))
        self._tree.attribute(f"{path}/mtu", netdev.mtu, on_write=lambda t: self.set_mtu(netdev, _number(t)))
        self._refresh(netdev)

    def _show_master(self, netdev: Netdev, master: Netdev | None) -> None:
        netdev.master = master
        if master is not None:
            self._tree.link(f"{netdev.path}/master", master.path)
            self._tree.directory(f"{netdev.path}/brport", {"state": 3})
            self._tree.link(f"{netdev.path}/brport/bridge", master.path)
            self._tree.link(f"{master.path}/brif/{netdev.name}", f"{netdev.path}/brport")

    def _hide_master(self, netdev: Netdev) -> None:
        if netdev.master is not None:
            self._tree.unlink(f"{netdev.path}/master")
            self._tree.unlink(f"{netdev.master.path}/brif/{netdev.name}")
            self._tree.bury(f"{netdev.path}/brport")

    def _refresh(self, netdev: Netdev) -> None:
        state: dict[str, str | int] = {
            "address": str(netdev.mac),
            "operstate": "up" if netdev.up else "down",
            "carrier": int(netdev.up),
        }
        if netdev.switch_id is not None:
            state["phys_switch_id"] = netdev.switch_id
        else:
            self._tree.unlink(f"{netdev.path}/phys_switch_id")
        self._tree.directory(netdev.path, state)


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise Refusal(EINVAL) from error


def _words(netdev: Netdev) -> tuple[str, str]:
    return f"INTERFACE={netdev.name}", f"IFINDEX={netdev.ifindex}"
