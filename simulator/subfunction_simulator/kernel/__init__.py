"""A simulated kernel: generic netlink and sysfs of a node with SmartNICs, byte for byte, with state and faults."""

from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.kernel import SimulatedKernel
from subfunction_simulator.kernel.schedule import Kind, Timing
from subfunction_simulator.kernel.topology import MediatedType, Parent, Topology

__all__ = ["Kind", "MediatedType", "Operation", "Parent", "SimulatedKernel", "Timing", "Topology"]
