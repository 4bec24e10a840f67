"""Reads a sub-function's own devlink instance: its netdev's port, its parameters.

An instance is locked while its function is reloaded or removed, and that waits for each process that has a vDPA device
of it open. So each request has a thread of its own: one that is not answered delays this function alone, and not the
others of its parent.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import TypeVar

from subfunction.errors import HeldOpen, KernelBusy
from subfunction.kernel.address import Handle
from subfunction.kernel.blocking_calls import BlockingCalls
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import PortFlavour

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class FunctionInstanceReader:
    """Reads the instances of a node's sub-functions, each request in a thread of its own."""

    blocking: BlockingCalls = dataclasses.field(default_factory=lambda: BlockingCalls(patience=2.0))

    def find_port(self, devlink: Devlink, sysfs: Sysfs, auxiliary: AuxiliaryDevice) -> Port | None:
        """Return the port of a function's own netdev, also while the netdev is in another network namespace.

        Raises:
            KernelBusy: the function is being reloaded or removed, and did not answer in time.
        """
        instances = auxiliary.instances(sysfs)

        def ask(devlink: Devlink) -> Port | None:
            ports = (port for instance in instances for port in devlink.ports(instance))
            return next((port for port in ports if port.flavour is PortFlavour.VIRTUAL), None)

        return self._ask(devlink, auxiliary.handle, "devlink port show", ask)

    def read_parameters(
        self, devlink: Devlink, auxiliary: AuxiliaryDevice, names: Iterable[str]
    ) -> tuple[tuple[str, ParameterValue | None], ...]:
        """Return parameters of a function (`devlink dev param show`), each with its name.

        Raises:
            KernelBusy: the function is being reloaded or removed, and did not answer in time.
        """

        def ask(devlink: Devlink) -> tuple[tuple[str, ParameterValue | None], ...]:
            return tuple((name, devlink.parameter(auxiliary.handle, name)) for name in names)

        return self._ask(devlink, auxiliary.handle, "devlink dev param show", ask)

    def has_reload_failed(self, devlink: Devlink, auxiliary: AuxiliaryDevice) -> bool:
        """Return whether a function's last reload failed half-way.

        Raises:
            KernelBusy: the function is being reloaded or removed, and did not answer in time.
        """
        return self._ask(
            devlink, auxiliary.handle, "devlink dev show", lambda devlink: devlink.reload_failed(auxiliary.handle)
        )

    def list_ports(self, devlink: Devlink, parent: Handle) -> list[Port]:
        """List a parent's ports on a kernel where the list waits for every instance (before Linux 6.5).

        Raises:
            KernelBusy: an instance is being reloaded or removed, and did not answer in time.
        """
        return self._ask(devlink, parent, "devlink port show", lambda devlink: devlink.ports(parent))

    def _ask(self, devlink: Devlink, handle: Handle, command: str, ask: Callable[[Devlink], T]) -> T:
        answers: list[T] = []

        def job() -> None:
            with devlink.second_client() as ours:
                answers.append(ask(ours))

        try:
            self.blocking.run(str(handle), f"{command} {handle}", job)
        except HeldOpen as error:
            raise KernelBusy(f"{handle} does not answer: it is being reloaded or removed") from error
        return answers[0]
