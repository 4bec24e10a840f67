"""A root shell on the node: the interface, and the state of a simulated kernel behind it."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Protocol

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import SimulatedKernel


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A port as the judge shows it."""

    name: str
    flavour: str
    netdev: str | None
    pf: int | None
    number: int | None
    mac: str | None
    state: str | None
    opstate: str | None


class Console(Protocol):
    """A root shell on the node: what it shows is the judge's word, and it does what our code never does."""

    def ports(self) -> set[Shown]:
        """Show every port (`devlink port show`)."""

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change an e-switch mode (`devlink dev eswitch set`)."""

    def rebind(self, handle: Handle) -> None:
        """Take the driver off a parent and give it back; everything of it goes, and it is in switchdev mode."""

    def slow_detach(self, handle: Handle) -> None:
        """Let functions of this parent take half a second to detach, or a few requests."""

    def take_netdev(self, name: str) -> None:
        """Move a netdev to a network namespace.

        Raises:
            OSError: the kernel refuses that.
        """

    def return_netdev(self, name: str) -> None:
        """Move it back."""

    def bridge(self, name: str) -> None:
        """Make a bridge (`ip link add NAME type bridge`)."""

    def add_alternative_name(self, name: str, alternative: str) -> None:
        """Give a link a further name (`ip link property add dev NAME altname ALTERNATIVE`)."""

    def open(self, node: str) -> contextlib.AbstractContextManager[None]:
        """Hold a device node below `/dev` open."""

    def open_in_group(self, device: str, group: str) -> contextlib.AbstractContextManager[None]:
        """Hold a device of VFIO open, through the node of its group."""


class SimulatedConsole:
    """The state of a simulated kernel, and its ways to be changed."""

    def __init__(self, kernel: SimulatedKernel) -> None:
        self._kernel = kernel

    def ports(self) -> set[Shown]:
        return {
            Shown(
                name=f"{handle}/{port.index}",
                flavour=port.flavour.name.lower().replace("_", ""),
                netdev=port.netdev.name if port.netdev and port.netdev.namespace is None else None,
                pf=port.pf,
                number=port.sub_function.number if port.sub_function else None,
                mac=str(function.mac) if function else None,
                state=("active" if port.sub_function.active else "inactive") if port.sub_function else None,
                opstate=("attached" if port.sub_function.attached else "detached") if port.sub_function else None,
            )
            for handle, instance in self._kernel.hardware.instances.items()
            for port in instance.ports.values()
            for function in (port.sub_function or port.virtual,)
        }

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        self._kernel.nic(handle).set_eswitch_mode(mode)

    def rebind(self, handle: Handle) -> None:
        self._kernel.crash_driver(handle)

    def slow_detach(self, handle: Handle) -> None:
        assert handle in self._kernel.hardware.instances  # the pace is that of all of them
        self._kernel.pace(detach=0.5 if self._kernel.timing.in_seconds else 8)

    def take_netdev(self, name: str) -> None:
        self._kernel.move_netdev(name)

    def return_netdev(self, name: str) -> None:
        assert self._kernel.namespace_ends() == [name]

    def bridge(self, name: str) -> None:
        self._kernel.bridge(name)

    def add_alternative_name(self, name: str, alternative: str) -> None:
        self._kernel.add_alternative_name(name, alternative)

    @contextlib.contextmanager
    def open(self, node: str) -> Iterator[None]:
        with self._kernel.hold_open(node):
            yield

    def open_in_group(self, device: str, group: str) -> contextlib.AbstractContextManager[None]:
        assert device
        return self.open(group)
