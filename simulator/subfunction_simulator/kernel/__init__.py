"""A simulated kernel serves generic netlink, rtnetlink and sysfs of a node with SmartNICs, with state and faults.

Here live the kernel itself, its server, what a test orders of it (faults, topology, schedule) and the rooms it is of.
It may import the ground (`subfunction`), and nothing else of the simulator.
Rooms, from the bottom: netlink, driver_core, network, devlink, pci, vdpa, cards, families (order: `pyproject.toml`).
A newcomer begins with `kernel.py`, then `machine.py` and `hardware.py`.
"""

from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.kernel import SimulatedKernel
from subfunction_simulator.kernel.schedule import Kind, Timing
from subfunction_simulator.kernel.topology import MediatedType, Parent, Topology

__all__ = ["Kind", "MediatedType", "Operation", "Parent", "SimulatedKernel", "Timing", "Topology"]
