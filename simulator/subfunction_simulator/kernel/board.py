"""The simulated machine: boot, cards, and all that happens to them behind the kernel's users' back."""

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.announce import Announcer
from subfunction_simulator.kernel.auxiliary import AuxiliaryBus
from subfunction_simulator.kernel.describe import describe
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.netdev import Netdevs
from subfunction_simulator.kernel.nic import Nic
from subfunction_simulator.kernel.rdma import RdmaDevices
from subfunction_simulator.kernel.schedule import Kind, Schedule, Timing
from subfunction_simulator.kernel.subfunction import SubFunction
from subfunction_simulator.kernel.topology import DRIVER, Parent, Topology
from subfunction_simulator.kernel.tree import BOOT_ID, Tree


class Board:
    """A node's hardware below `root`: `sys/`, `dev/`, `boot_id`; every verb acts now, and from any thread."""

    def __init__(self, root: Path, topology: Topology | None = None, timing: Timing | None = None) -> None:
        self.root = root
        self.topology = topology or Topology()
        self.timing = timing or Timing()
        self.tree = Tree(root)
        self.faults = Faults()
        self.schedule = Schedule(self.timing.clock())
        self.lock = threading.RLock()
        self._boot()

    def _boot(self) -> None:
        (self.root / BOOT_ID).write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        self.machine = Machine(
            topology=self.topology,
            timing=self.timing,
            tree=self.tree,
            faults=self.faults,
            announcer=Announcer(),
            schedule=self.schedule,
            netdevs=Netdevs(self.tree, self.root, self.topology.seed),
            rdma=RdmaDevices(self.tree, self.root / "dev"),
            # mlx5 numbers the auxiliary children of its PFs from the same pool, first come first served.
            auxiliary=AuxiliaryBus(self.tree, first_index=len(self.topology.parents)),
        )
        for name in ("pci/drivers/" + DRIVER, "pci/devices"):
            self.tree.directory(f"bus/{name}")
        for parent in self.topology.parents:
            self._plug(parent)

    def _plug(self, parent: Parent) -> None:
        self.tree.directory(
            parent.path,
            {
                "vendor": "0x15b3",
                "device": "0x101d",
                "class": "0x020000",
                "numa_node": parent.numa_node,
                "uevent": f"DRIVER={DRIVER}\nPCI_SLOT_NAME={parent.bdf}",
            },
        )
        self.tree.link(f"{parent.path}/subsystem", "bus/pci")
        self.tree.link(f"bus/pci/devices/{parent.bdf}", parent.path)
        self._bind(parent)

    def _bind(self, parent: Parent) -> None:
        if self.topology.devlink:
            Nic(self.machine, parent).register()

    def describe(self) -> list[str]:
        """Give the lines that `devlink port show` would print."""
        with self.lock:
            return describe(self.machine)

    def nic(self, handle: Handle) -> Nic:
        """Give the state of a parent, for a judge to compare with."""
        instance = self.machine.instances[handle]
        if not isinstance(instance, Nic):
            raise TypeError(f"{handle} is no parent")
        return instance

    def sub_function(self, handle: Handle, number: int) -> SubFunction:
        """Give the state of a sub-function that has a port."""
        found = [each for each in self.nic(handle).sub_functions.values() if each.number == number and each.port]
        return found[0]

    def hold(self, kind: Kind) -> None:
        """Let nothing attach, or nothing detach, until it is let go."""
        with self.lock:
            self.schedule.hold(kind)

    def let_go(self, kind: Kind) -> None:
        """Let what was held go on."""
        with self.lock:
            self.schedule.let_go(kind)

    def pace(self, *, attach: float | None = None, detach: float | None = None) -> None:
        """Let functions attach and detach at another pace from now on, in the unit of the kernel's timing."""
        with self.lock:
            timing = self.machine.timing
            self.timing = self.machine.timing = dataclasses.replace(
                timing,
                attach=timing.attach if attach is None else attach,
                detach=timing.detach if detach is None else detach,
            )

    def lose_port(self, handle: Handle, number: int) -> None:
        """Delete a sub-function's port, as somebody with `devlink port del` does."""
        with self.lock:
            port = self.sub_function(handle, number).port
            if port is not None:
                port.instance.delete_port(port)

    def move_netdev(self, name: str, namespace: str = "pod") -> None:
        """Move a netdev out of the host's namespace (`ip link set NAME netns pod`)."""
        with self._announced(name) as netdev_name:
            self.machine.netdevs.leave(self.machine.netdevs.find(netdev_name), namespace)

    def namespace_ends(self, namespace: str = "pod", *, mtu: int | None = None) -> list[str]:
        """Return the netdevs of a namespace that died, and give their names; the pod had set `mtu`."""
        names = []
        with self.lock:
            for netdev in self.machine.netdevs:
                if netdev.namespace == namespace:
                    netdev.mtu = mtu or netdev.mtu
                    self.machine.netdevs.come_back(netdev)
                    netdev.port.tell()
                    names.append(netdev.name)
        return names

    def rename_netdev(self, name: str, new: str) -> None:
        """Rename a netdev, as udev does."""
        with self._announced(name) as netdev_name:
            self.machine.netdevs.rename(self.machine.netdevs.find(netdev_name), new)

    @contextmanager
    def _announced(self, name: str) -> Iterator[str]:
        with self.lock:
            port = self.machine.netdevs.find(name).port
            yield name
            port.tell()

    def unbind_function(self, name: str) -> None:
        """Take the driver off a sub-function (`echo mlx5_core.sf.4 > .../mlx5_core.sf/unbind`)."""
        with self.lock:
            self.machine.auxiliary.unbind(name)

    def bind_function(self, name: str) -> None:
        """Bind it again."""
        with self.lock:
            self.machine.auxiliary.bind(name)

    def crash_driver(self, handle: Handle) -> None:
        """Let a parent's driver recover from a fatal error: it starts anew, every sub-function is lost."""
        with self.lock:
            nic = self.nic(handle)
            nic.unregister()
            self._bind(nic.parent)

    def remove_parent(self, handle: Handle) -> None:
        """Take a card out (`echo 1 > /sys/bus/pci/devices/.../remove`)."""
        with self.lock:
            nic = self.nic(handle)
            nic.unregister()
            self.tree.unlink(f"bus/pci/devices/{nic.parent.bdf}")
            self.tree.bury(nic.parent.path)

    def rescan(self) -> None:
        """Find the cards that were taken out (`echo 1 > /sys/bus/pci/rescan`)."""
        with self.lock:
            for parent in self.topology.parents:
                if parent.handle not in self.machine.instances:
                    self._plug(parent)

    def deafen(self, *, deaf: bool = True) -> None:
        """Lose notifications without a word, until heard again."""
        with self.lock:
            self.machine.announcer.deaf = deaf

    def overrun(self) -> None:
        """Let every listener have lost notifications (ENOBUFS)."""
        with self.lock:
            self.machine.announcer.overrun()

    def reboot(self, topology: Topology | None = None) -> None:
        """Start anew: no sub-functions, another boot id, every socket of before ended."""
        with self.lock:
            self.topology = topology or self.topology
            self.faults.release_all()
            self.schedule.clear()
            self.machine.announcer.end()
            for name in self.tree.names():
                self.tree.bury(name)
            self._boot()
