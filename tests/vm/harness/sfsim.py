"""The simulated NIC of a machine, loaded and unloaded, made slow or faulty."""

from dataclasses import dataclass

from harness.faults import Faults, Operation
from harness.machine import SHARE
from harness.mediated import Mediated
from harness.nic import AUX, Nic
from harness.wait import until

__all__ = ["AUX", "Operation", "Sfsim", "until"]


@dataclass(frozen=True, slots=True)
class Sfsim(Nic):
    """The module in one machine; see ../sfsim/README.md for what it simulates."""

    @property
    def mediated(self) -> Mediated:
        """The machine's mediated devices."""
        return Mediated(self.machine)

    def faults(self, address: str) -> Faults:
        """What this PCI function is told to do wrong."""
        return Faults(self.machine, address)

    def load(self, **parameters: int | str) -> None:
        """Load it, fresh: `switchdev=1`, `personality="ice"`, `mdev=1` ... (`insmod sfsim.ko ...`)."""
        given = " ".join(f"{name}={value}" for name, value in parameters.items())
        self.machine.run(f"if [ -e /sys/module/sfsim ]; then rmmod sfsim; fi; insmod {SHARE}/sfsim.ko {given}")

    def unload(self) -> None:
        """Unload it, and with it everything it made (`rmmod sfsim`)."""
        self.machine.run("rmmod sfsim")

    def delay(self, address: str, *, attach_ms: int = 0, detach_ms: int = 0) -> None:
        """Let sub-functions of this PCI function appear and disappear later than asked."""
        self.faults(address).delay(attach=attach_ms, detach=detach_ms)

    def fail_next(self, address: str, operation: Operation, errno: int, count: int = 1) -> None:
        """Let the next `count` operations of a kind fail with `errno`; a count of 0 takes that back."""
        self.faults(address).fail_next(operation, errno, count)
