"""A card's firmware meets a fatal error; its driver recovers the card, or gives it up (mlx5's reporter `fw_fatal`)."""

from typing import Protocol

from subfunction.kernel.uapi import Command
from subfunction_simulator.kernel.devlink.instance import Port
from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work
from subfunction_simulator.kernel.netlink.announce import Announcer

FATAL = "fw_fatal"


class Patient(Protocol):
    """A physical function's driver can end all that it has, and begin anew."""

    ports: dict[int, Port]
    announcer: Announcer

    def reporter_attributes(self, name: str) -> bytes:
        """Encode one health reporter."""

    def tell(self, command: Command, /) -> None:
        """Announce the instance."""

    def drop_sub_functions(self) -> PendingWork:
        """End every sub-function."""

    def unload(self) -> None:
        """End what is left but the instance, and be in legacy mode."""

    def load(self) -> None:
        """Begin with uplink and RDMA device."""


class Health:
    """A card is well, or failed until its driver has recovered it."""

    def __init__(self, patient: Patient) -> None:
        self.failed = False
        self._patient = patient

    def fail(self, *, unload: bool) -> PendingWork:
        """Meet a fatal error of the firmware; of a driver that unloads, the instance alone is left."""
        self.failed = True
        for port in self._patient.ports.values():
            port.unreadable = port.sub_function is not None
        self._announce()
        if not unload:
            return no_work()
        work = self._patient.drop_sub_functions()
        work.then(self._patient.unload)
        return work

    def recover(self) -> PendingWork:
        """Begin anew after a fatal error, in legacy mode and without sub-functions."""
        work = self._patient.drop_sub_functions()
        work.then(self._patient.unload)
        work.then(self._come_back)
        return work

    def _come_back(self) -> None:
        self._patient.load()
        self.failed = False
        self._announce()
        self._patient.tell(Command.NEW)

    def _announce(self) -> None:
        self._patient.announcer.tell(Command.HEALTH_REPORTER_RECOVER, self._patient.reporter_attributes(FATAL))
