"""Every driver needs these parts of the node."""

import dataclasses
import threading

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.devlink.instance import Instance
from subfunction_simulator.kernel.driver_core.auxiliary import AuxiliaryBus
from subfunction_simulator.kernel.driver_core.devices import Devices
from subfunction_simulator.kernel.driver_core.nodes import Nodes, lowest_free
from subfunction_simulator.kernel.driver_core.pending_work import Gate, PendingWork
from subfunction_simulator.kernel.driver_core.tree import Tree
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.netlink.announce import Announcer
from subfunction_simulator.kernel.network.netdevs import Netdevs
from subfunction_simulator.kernel.network.rdma import RdmaDevices
from subfunction_simulator.kernel.pci.function import PciBus
from subfunction_simulator.kernel.pci.iommu import IommuGroups
from subfunction_simulator.kernel.pci.mediated import MediatedDevices
from subfunction_simulator.kernel.pci.vfio import VfioDevices
from subfunction_simulator.kernel.schedule import Schedule, Timing
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.vdpa.vdpabus import VdpaDevices


@dataclasses.dataclass(slots=True, kw_only=True)
class Hardware:
    """The hardware lives for one boot; what outlives a reboot (tree, faults, clock, lock) goes to the next."""

    topology: Topology
    timing: Timing
    lock: threading.Condition
    tree: Tree
    faults: Faults
    announcer: Announcer
    schedule: Schedule
    devices: Devices
    nodes: Nodes
    netdevs: Netdevs
    rdma: RdmaDevices
    auxiliary: AuxiliaryBus
    pci: PciBus
    vdpa: VdpaDevices
    iommu: IommuGroups
    vfio: VfioDevices
    mediated: MediatedDevices
    instances: dict[Handle, Instance] = dataclasses.field(default_factory=dict)
    numbers: set[int] = dataclasses.field(default_factory=set)
    """What mlx5's PCI functions have taken of the pool that its sub-functions' devices are numbered from."""
    remark: str = ""
    """What a driver says of the request that is being answered, although it succeeds."""
    vhca_ids: int = 0
    attached: int = 0
    """How many functions ever attached; whether the last notification of one says so alternates with it."""

    def next_vhca_id(self) -> int:
        """Give the firmware's next function id."""
        self.vhca_ids += 1
        return self.vhca_ids - 1

    def take_number(self) -> int:
        """Take the lowest free number of mlx5's pool for a PCI function."""
        number = self.free_number("mlx5_core.sf")
        self.numbers.add(number)
        return number

    def free_number(self, kind: str, first: int = 0) -> int:
        """Give the lowest number that no auxiliary device of a kind has, nor a PCI function."""
        return lowest_free({device.index for device in self.auxiliary if device.kind == kind} | self.numbers, first)

    def finish(self, work: PendingWork) -> None:
        """Wait until work is over, as its caller does in the kernel; others go on meanwhile."""
        if not work.over:
            self.lock.wait_for(lambda: work.over)

    def pass_gate(self, gate: Gate) -> None:
        """Wait in line for a lock of the kernel's."""
        if not gate.open:
            self.lock.wait_for(lambda: gate.open)
