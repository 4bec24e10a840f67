"""The simulated machine: what it is made of, how it boots, and what a judge may look at."""

import dataclasses
import threading
import uuid
from pathlib import Path

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.announce import Announcer
from subfunction_simulator.kernel.auxiliary import AuxiliaryDriver
from subfunction_simulator.kernel.bus import Bus
from subfunction_simulator.kernel.card import CardDriver
from subfunction_simulator.kernel.describe import describe
from subfunction_simulator.kernel.devices import Devices
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.iommu import IommuGroups
from subfunction_simulator.kernel.machine import Machine
from subfunction_simulator.kernel.manners import manners_of
from subfunction_simulator.kernel.mediated import MediatedDevices
from subfunction_simulator.kernel.modules import Modules
from subfunction_simulator.kernel.netdev import Looks
from subfunction_simulator.kernel.netdevs import VIRTUAL, Netdevs
from subfunction_simulator.kernel.nic import Nic
from subfunction_simulator.kernel.nodes import Nodes
from subfunction_simulator.kernel.rdma import RdmaDevices
from subfunction_simulator.kernel.schedule import Schedule, Timing
from subfunction_simulator.kernel.slot import plug
from subfunction_simulator.kernel.subfunction import SubFunction
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.tree import BOOT_ID, Tree
from subfunction_simulator.kernel.vdpabus import VdpaDevices
from subfunction_simulator.kernel.vfio import VfioDevices


class Board:
    """A node's hardware below `root`: `sys/`, `dev/`, `boot_id`."""

    def __init__(self, root: Path, topology: Topology | None = None, timing: Timing | None = None) -> None:
        self.root = root
        self.topology = topology or Topology()
        self.timing = timing or Timing()
        self.tree = Tree(root)
        self.faults = Faults()
        self.schedule = Schedule(self.timing.clock())
        self.lock = threading.Condition()
        """Held while the kernel works; what waits for a user of a device waits on it."""
        self._boot()

    def _boot(self) -> None:
        (self.root / BOOT_ID).write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        announcer = Announcer()
        devices = Devices(self.tree, announcer)
        nodes = Nodes(self.root / "dev")
        iommu = IommuGroups(self.tree)
        vfio = VfioDevices(devices, nodes, cdev=self.topology.vfio_cdev, noiommu=self.topology.noiommu)
        self.machine = Machine(
            topology=self.topology,
            timing=self.timing,
            lock=self.lock,
            tree=self.tree,
            faults=self.faults,
            announcer=announcer,
            schedule=self.schedule,
            devices=devices,
            nodes=nodes,
            netdevs=Netdevs(devices, announcer, self.root, self.topology.seed),
            rdma=RdmaDevices(devices, nodes),
            auxiliary=Bus("auxiliary", devices),
            pci=Bus("pci", devices, overridable=True),
            vdpa=VdpaDevices(devices),
            iommu=iommu,
            vfio=vfio,
            mediated=MediatedDevices(devices, vfio, iommu, self.faults),
        )
        self._register_drivers()
        for parent in self.topology.parents:
            plug(self.machine, parent)
        for bridge in self.topology.bridges:
            self.bridge(bridge)

    def _register_drivers(self) -> None:
        machine = self.machine
        drivers = {parent.driver: manners_of(parent.driver) for parent in self.topology.parents}
        for name, manners in drivers.items():
            machine.pci.register(CardDriver(name, machine))
            machine.auxiliary.register(AuxiliaryDriver(f"{name}.sf", f"{name}.sf"))
            if manners.parameters:
                machine.auxiliary.register(AuxiliaryDriver(f"{name}.eth", f"{name}.eth"))
            if manners.virtual_driver != name:
                machine.pci.register(CardDriver(manners.virtual_driver, machine))
        self.modules = Modules(machine)
        for module in self.topology.modules:
            self.modules.load(module)

    def bridge(self, name: str) -> int:
        """Make a bridge (`ip link add NAME type bridge`), and give its ifindex."""
        with self.lock:
            netdev = self.machine.netdevs.add(VIRTUAL, None, Looks(name=name, kind="bridge"))
            self.tree.directory(f"{netdev.path}/bridge", {"stp_state": 0})
            self.tree.directory(f"{netdev.path}/brif")
            return netdev.ifindex

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

    def pace(self, *, attach: float | None = None, detach: float | None = None) -> None:
        """Let functions attach and detach at another pace from now on, in the unit of the kernel's timing."""
        with self.lock:
            timing = self.machine.timing
            self.timing = self.machine.timing = dataclasses.replace(
                timing,
                attach=timing.attach if attach is None else attach,
                detach=timing.detach if detach is None else detach,
            )
