"""The node under test: short ways to make, attach and look at its sub-functions."""

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from tests.contract.console import Console
from tests.contract.instruments import WholeDevlink, WholeVdpa
from tests.contract.kernels import Personality

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.link import Links
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uplink import find_uplink

T = TypeVar("T")
UNSET = Mac(bytes(6))


def until(look: Callable[[], T], good: Callable[[T], object], *, seconds: float = 20) -> T:
    """Look again until it is good: for what the kernel does not announce."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while not good(seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; the last seen: {seen}")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return seen


@dataclasses.dataclass(slots=True)
class Node:
    """A kernel to be tested, with at least two parents in switchdev mode; the last of all is `spare`."""

    netlink: Netlink
    sysfs: Sysfs
    console: Console
    parents: tuple[Handle, ...]
    personality: Personality

    @property
    def vdpa(self) -> WholeVdpa:
        """vDPA, by the socket of this test."""
        return WholeVdpa(self.netlink)

    @property
    def links(self) -> Links:
        """The network links, by a socket of this test."""
        return Links(self.netlink)

    @property
    def devlink(self) -> WholeDevlink:
        """Devlink, by the socket of this test."""
        return WholeDevlink(self.netlink)

    @property
    def parent(self) -> Handle:
        """The parent that a test uses when one is enough."""
        return self.parents[0]

    @property
    def spare(self) -> Handle:
        """A parent whose mode a test may change."""
        return self.parents[-1]

    def physical(self, handle: Handle) -> Port:
        """Look at a parent's physical port, on whichever instance it is."""
        port = find_uplink(self.devlink, self.sysfs, handle)
        assert port is not None
        return port

    def pf(self, handle: Handle) -> int:
        """Read what a parent's sub-functions name as their pf."""
        number = self.physical(handle).port_number
        assert number is not None
        return number

    def new(self, number: int, *, parent: Handle | None = None, settings: FunctionSettings | None = None) -> Port:
        """Create a port, and set its function."""
        handle = parent or self.parent
        port = self.devlink.create_port(handle, pf=self.pf(handle), number=number)
        if settings is not None:
            self.devlink.set_function(handle, port.index, settings)
        return port

    def seen(self, port: Port) -> Port:
        """Look at a port that is there."""
        found = self.devlink.port(port.handle, port.index)
        assert found is not None
        return found

    def attach(self, port: Port) -> Handle:
        """Activate a function, wait until its driver holds it, and give its instance."""
        self.devlink.set_active(port.handle, port.index, active=True)

        def ready(seen: Port) -> bool:
            return seen.function is not None and seen.function.attached and seen.function.instance is not None

        function = until(lambda: self.seen(port), ready).function
        assert function is not None
        assert function.instance is not None
        # The driver's link is made after its probe, which is what attaches.
        instance = function.instance
        until(lambda: self.sysfs.target(f"{instance.path}/driver"), bool)
        return instance

    def make_room(self, port: Port) -> Port:
        """Let a new port be no hindrance to the next one of its parent."""
        if self.personality.one_unattached:
            self.attach(port)
            self.detach(port)
        return port

    def detach(self, port: Port) -> None:
        """Deactivate a function and wait until its driver has let go."""
        self.devlink.set_active(port.handle, port.index, active=False)
        self._wait_for_detach(port)

    def _wait_for_detach(self, port: Port) -> None:
        until(lambda: self.seen(port).function, lambda function: function and not function.attached)

    def load(self, instance: Handle, *names: str) -> None:
        """Bring up what a function that came up light is to have: its netdev and RDMA device, where nothing is said."""
        for name in names or ("enable_eth", "enable_rdma"):
            self.devlink.set_parameter(instance, name, value=True)
        self.devlink.reload(instance)

    def virtual_port(self, instance: Handle) -> Port | None:
        """Find the port of a function's netdev."""
        device = AuxiliaryDevice.named(self.sysfs, instance.device)
        assert device is not None
        ports = [port for handle in device.instances(self.sysfs) for port in self.devlink.ports(handle)]
        assert len(ports) <= 1
        return next(iter(ports), None)

    def path(self, handle: Handle) -> str:
        """Give the directory of an instance's device in sysfs, resolved."""
        path = self.sysfs.resolve(handle.path)
        assert path is not None
        return path

    def netdev(self, port: Port) -> Netdev:
        """Bring a function up, and look at its netdev."""
        instance = self.attach(port)
        if self.personality.tells_number:
            self.load(instance, "enable_eth")
        virtual = until(lambda: self.virtual_port(instance), lambda seen: seen is not None and seen.netdev)
        netdev = Netdev.named(self.sysfs, str(virtual and virtual.netdev))
        assert netdev is not None
        return netdev

    def representor(self, port: Port) -> Netdev:
        """Look at the representor of a port."""
        netdev = Netdev.named(self.sysfs, str(port.netdev))
        assert netdev is not None
        return netdev

    def ifindex(self, name: str) -> int:
        """Give the number of a link."""
        netdev = Netdev.named(self.sysfs, name)
        assert netdev is not None
        return netdev.ifindex

    def auxiliary(self) -> tuple[str, ...]:
        """List the sub-functions' devices, after a request: a simulated kernel's time may be counted in those."""
        self.devlink.instances()
        return tuple(name for name in self.sysfs.names("bus/auxiliary/devices") if ".sf." in name)

    def clear_address(self, number: int = 1) -> None:
        """Take away the address that an mlx5 slot keeps of its last owner, of the slot that is dealt out next."""
        port = self.new(number, settings=FunctionSettings(mac=UNSET))
        self.devlink.delete_port(port.handle, port.index)

    def empty(self) -> None:
        """Delete every sub-function, and wait until nothing of them is left."""
        ports = [port for port in self.devlink.all_ports() if port.is_sub_function]
        # A port that is deleted while active cannot be asked any more whether the driver has let go.
        for port in ports:
            self.devlink.set_active(port.handle, port.index, active=False)
        for port in ports:
            self._wait_for_detach(port)
            self.devlink.delete_port(port.handle, port.index)
        until(self.auxiliary, lambda names: not names)
