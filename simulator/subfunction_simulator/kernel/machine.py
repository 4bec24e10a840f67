"""The parts of the node that every driver of it needs."""

import dataclasses
import threading

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.announce import Announcer
from subfunction_simulator.kernel.auxiliary import AuxiliaryBus
from subfunction_simulator.kernel.devices import Devices
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.instance import Instance
from subfunction_simulator.kernel.iommu import IommuGroups
from subfunction_simulator.kernel.mediated import MediatedDevices
from subfunction_simulator.kernel.netdevs import Netdevs
from subfunction_simulator.kernel.nodes import Nodes
from subfunction_simulator.kernel.pci import PciBus
from subfunction_simulator.kernel.rdma import RdmaDevices
from subfunction_simulator.kernel.schedule import Schedule, Timing
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.tree import Tree
from subfunction_simulator.kernel.vdpabus import VdpaDevices
from subfunction_simulator.kernel.vfio import VfioDevices
from subfunction_simulator.kernel.work import Gate, Work


@dataclasses.dataclass(slots=True, kw_only=True)
class Machine:
    """One boot of the node; what outlives a reboot (tree, faults, clock, lock) is handed to the next."""

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
    vhca_ids: int = 0
    attached: int = 0
    """How many functions ever attached; whether the last notification of one says so alternates with it."""

    def next_vhca_id(self) -> int:
        """Give the firmware's next function id."""
        self.vhca_ids += 1
        return self.vhca_ids - 1

    def finish(self, work: Work) -> None:
        """Wait until work is over, as its caller does in the kernel; others go on meanwhile."""
        if not work.over:
            self.lock.wait_for(lambda: work.over)

    def pass_gate(self, gate: Gate) -> None:
        """Wait in line for a lock of the kernel's."""
        if not gate.open:
            self.lock.wait_for(lambda: gate.open)
