"""The simulated machine is made of hardware, boots, and shows a test its state."""

import dataclasses
import threading
import uuid
from pathlib import Path

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.cards.card import CardDriver
from subfunction_simulator.kernel.cards.nic import Nic
from subfunction_simulator.kernel.cards.slot import plug
from subfunction_simulator.kernel.cards.subfunction import SubFunction
from subfunction_simulator.kernel.describe import describe
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryDriver
from subfunction_simulator.kernel.driver_core.bus import Bus
from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.nodes import Nodes
from subfunction_simulator.kernel.driver_core.tree import BOOT_ID, Tree
from subfunction_simulator.kernel.driver_traits import traits_of
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.modules import Modules
from subfunction_simulator.kernel.netlink.announce import Announcer
from subfunction_simulator.kernel.network.netdev import Looks
from subfunction_simulator.kernel.network.netdevs import VIRTUAL, Netdevs
from subfunction_simulator.kernel.network.rdma import RdmaDevices
from subfunction_simulator.kernel.pci.iommu import IommuGroups
from subfunction_simulator.kernel.pci.mediated import MediatedDevices
from subfunction_simulator.kernel.pci.vfio import VfioDevices
from subfunction_simulator.kernel.schedule import Schedule, Timing
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.vdpa.vdpabus import VdpaDevices


class Machine:
    """A machine stands below `root`, with `sys/`, `dev/` and `boot_id`."""

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
        self.hardware = Hardware(
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
            rdma=RdmaDevices(devices, nodes, self.root),
            auxiliary=Bus("auxiliary", devices),
            pci=Bus("pci", devices, overridable=True),
            vdpa=VdpaDevices(devices),
            iommu=iommu,
            vfio=vfio,
            mediated=MediatedDevices(devices, vfio, iommu, self.faults),
        )
        self._register_drivers()
        for parent in self.topology.parents:
            plug(self.hardware, parent)
        for bridge in self.topology.bridges:
            self.bridge(bridge)

    def _register_drivers(self) -> None:
        hardware = self.hardware
        drivers = {parent.driver: traits_of(parent.driver) for parent in self.topology.parents}
        for name, traits in drivers.items():
            hardware.pci.register(CardDriver(name, hardware))
            hardware.auxiliary.register(AuxiliaryDriver(f"{name}.sf", f"{name}.sf"))
            for kind in ("eth", "eth-rep") if traits.pci_children else ():
                hardware.auxiliary.register(AuxiliaryDriver(f"{name}.{kind}", f"{name}.{kind}"))
            if traits.virtual_driver != name:
                hardware.pci.register(CardDriver(traits.virtual_driver, hardware))
        self.modules = Modules(hardware)
        for module in self.topology.modules:
            self.modules.load(module)

    def bridge(self, name: str) -> int:
        """Make a bridge (`ip link add NAME type bridge`), and give its ifindex."""
        with self.lock:
            netdev = self.hardware.netdevs.add(VIRTUAL, None, Looks(name=name, kind="bridge"))
            self.tree.directory(f"{netdev.path}/bridge", {"stp_state": 0})
            self.tree.directory(f"{netdev.path}/brif")
            return netdev.ifindex

    def describe(self) -> list[str]:
        """Give the lines that `devlink port show` would print."""
        with self.lock:
            return describe(self.hardware)

    def nic(self, handle: Handle) -> Nic:
        """Give the state of a parent, for a test to compare with."""
        instance = self.hardware.instances[handle]
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
            timing = self.hardware.timing
            self.timing = self.hardware.timing = dataclasses.replace(
                timing,
                attach=timing.attach if attach is None else attach,
                detach=timing.detach if detach is None else detach,
            )
