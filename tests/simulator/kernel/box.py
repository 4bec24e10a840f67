"""A simulated machine with one card, and a program that asks its kernel."""

import dataclasses
import struct
from pathlib import Path

from tests.contract.instruments import WholeDevlink, WholeVdpa

from subfunction.kernel import uapi
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import Function, Port
from subfunction_simulator.kernel import Parent, SimulatedKernel, Topology
from subfunction_simulator.kernel.netlink import wire

FIRST = Handle("pci", "0000:03:00.0")
UPLINK = Handle("auxiliary", "mlx5_core.eth.0")
"""The instance that the physical port of an mlx5 card is on."""
MAC = Mac.parse("02:00:00:00:88:88")
UNSET = Mac(bytes(6))
CARD = Parent(bdf=FIRST.device, netdev="p0")


class Box:
    """A machine with one card, and a program that asks it."""

    def __init__(self, root: Path, parent: Parent | None = None, topology: Topology | None = None) -> None:
        self.parent = parent or CARD
        topology = dataclasses.replace(topology or Topology(), parents=(self.parent,))
        self.kernel = SimulatedKernel(root, topology)
        self.netlink = Netlink(self.kernel.transport())
        self.devlink = WholeDevlink(self.netlink)
        self.vdpa = WholeVdpa(self.netlink)
        self.sysfs = self.kernel.sysfs()

    def attach(self, number: int = 88) -> Handle:
        """Make a function, and give the instance of its driver."""
        index = self.devlink.create_port(FIRST, pf=0, number=number).index
        self.devlink.set_active(FIRST, index, active=True)
        self.kernel.settle()
        function = self.find(index).function
        assert function is not None
        assert function.instance is not None
        return function.instance

    def find(self, index: int) -> Port:
        port = self.devlink.port(FIRST, index)
        assert port is not None
        return port

    def function(self, index: int) -> Function:
        function = self.find(index).function
        assert function is not None
        return function

    def load(self, instance: Handle, *parameters: str) -> None:
        for parameter in parameters:
            self.devlink.set_parameter(instance, parameter, value=True)
        self.devlink.reload(instance)

    def to(self, driver: str, address: str) -> None:
        """Bind a PCI function to another driver."""
        driver_binding.override(self.sysfs, "pci", address, driver)
        self.kernel.unbind_pci(address)
        driver_binding.probe(self.sysfs, "pci", address)

    def driver(self, bus: str, name: str) -> str | None:
        return (self.sysfs.target(f"bus/{bus}/devices/{name}/driver") or "").rpartition("/")[2] or None

    def ask(self, command: int, *attributes: bytes) -> tuple[int, bytes]:
        """Send a request of devlink about the card, and give errno and the last answer."""
        handle = wire.text(1, FIRST.bus) + wire.text(2, FIRST.device)
        flags = uapi.NLM_F_REQUEST | uapi.NLM_F_ACK
        replies = self.kernel.answer(wire.message(26, flags, 1, 0, wire.generic(command, handle, *attributes)))
        return -int(struct.unpack_from("=i", replies[-1], 16)[0]), replies[-1]
