"""What one physical function of sfsim is told to do wrong, and what it was asked (`/sys/kernel/debug/sfsim/...`)."""

from dataclasses import dataclass
from typing import Literal

from harness.machine import Machine

Operation = Literal[
    "new", "set_mac", "set_roce", "set_eqs", "activate", "deactivate", "probe", "detach", "del", "rate", "param",
    "reload", "eth", "rdma", "vnet", "vdpa_add", "vdpa_del", "mdev_create", "mdev_remove", "eswitch", "sriov",
]  # fmt: skip

DEBUGFS = "/sys/kernel/debug/sfsim"


@dataclass(frozen=True, slots=True)
class Call:
    """One operation as the driver saw it begin."""

    operation: str
    number: int | None
    """The sub-function's; None for an operation on none."""
    errno: int
    """What it was made to fail with; 0 if it was not."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The fault folder of one PCI address."""

    machine: Machine
    address: str

    @property
    def folder(self) -> str:
        """Its path in the guest."""
        return f"{DEBUGFS}/{self.address}"

    def fail_next(self, operation: Operation, errno: int, count: int = 1) -> None:
        """Let the next `count` operations of a kind fail with `errno`; a count of 0 takes that back.

        `vdpa_del`, `mdev_remove` are counted only: the kernel lets neither fail. A failed `detach` is one the firmware
        did not hear of; the function stays until its port is deleted or its driver is unbound.
        """
        self.machine.run(f"echo {operation} {errno} {count} > {self.folder}/fail_next")

    def delay(self, **milliseconds: int) -> None:
        """Let operations take their time: `attach`, `detach`, `reload`, `vdpa_del`, `mdev_remove`."""
        for name, value in milliseconds.items():
            self.machine.run(f"echo {value} > {self.folder}/{name}_delay_ms")

    def hang_detach(self, *, on: bool) -> None:
        """Let no function of this PF go, until it is switched off again or the PF goes."""
        self.machine.run(f"echo {int(on)} > {self.folder}/hang_detach")

    def lose(self, number: int) -> None:
        """Let the firmware take an active sub-function away: its device goes, its port stays, inactive."""
        self.machine.run(f"echo {number} > {self.folder}/fw_lost")

    def calls(self) -> list[Call]:
        """What was asked of it since it was loaded or `forget`, oldest first (the last 1024)."""
        lines = (line.split() for line in self.machine.run(f"cat {self.folder}/trace").stdout.splitlines())
        return [Call(name, None if number == "-" else int(number), int(code)) for name, number, code in lines]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each operation that was asked for: how often, and how often it was made to fail."""
        lines = (line.split() for line in self.machine.run(f"cat {self.folder}/counters").stdout.splitlines())
        return {name: (int(calls), int(failures)) for name, calls, failures in lines}

    def forget(self) -> None:
        """Begin trace and counters anew."""
        self.machine.run(f"echo 0 > {self.folder}/trace")
