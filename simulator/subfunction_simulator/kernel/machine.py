"""The parts of the node that every driver of it needs."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.announce import Announcer
from subfunction_simulator.kernel.auxiliary import AuxiliaryBus
from subfunction_simulator.kernel.faults import Faults
from subfunction_simulator.kernel.instance import Instance
from subfunction_simulator.kernel.netdev import Netdevs
from subfunction_simulator.kernel.rdma import RdmaDevices
from subfunction_simulator.kernel.schedule import Schedule, Timing
from subfunction_simulator.kernel.topology import Topology
from subfunction_simulator.kernel.tree import Tree


@dataclasses.dataclass(slots=True, kw_only=True)
class Machine:
    """One boot of the node; what outlives a reboot (tree, faults, clock) is handed to the next."""

    topology: Topology
    timing: Timing
    tree: Tree
    faults: Faults
    announcer: Announcer
    schedule: Schedule
    netdevs: Netdevs
    rdma: RdmaDevices
    auxiliary: AuxiliaryBus
    instances: dict[Handle, Instance] = dataclasses.field(default_factory=dict)
    vhca_ids: int = 0
    attached: int = 0
    """How many functions ever attached; whether the last notification of one says so alternates with it."""

    def next_vhca_id(self) -> int:
        """Give the firmware's next function id."""
        self.vhca_ids += 1
        return self.vhca_ids - 1
