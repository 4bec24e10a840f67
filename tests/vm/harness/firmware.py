"""The emulated firmware of one mlx5 physical function: what it is told to do wrong, and what the driver asked of it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from harness.machine import Machine

Opcode = Literal[
    "QUERY_HCA_CAP", "INIT_HCA", "TEARDOWN_HCA", "ENABLE_HCA", "DISABLE_HCA", "SET_HCA_CAP", "SET_ISSI", "ALLOC_SF",
    "DEALLOC_SF", "CREATE_MKEY", "CREATE_EQ", "CREATE_CQ", "CREATE_SQ", "MODIFY_NIC_VPORT_CONTEXT",
    "CREATE_SCHEDULING_ELEMENT", "DESTROY_SCHEDULING_ELEMENT", "MODIFY_SCHEDULING_ELEMENT", "ALLOC_PD", "DEALLOC_PD",
    "ALLOC_TRANSPORT_DOMAIN", "ALLOC_XRCD", "CREATE_FLOW_TABLE", "CREATE_GENERAL_OBJECT", "QUERY_VHCA_STATE",
    "MODIFY_VHCA_STATE",
]  # fmt: skip
"""Commands that tests name; the firmware knows all of `MLX5_CMD_OP_...` in include/linux/mlx5/mlx5_ifc.h."""

Health = Literal["well", "fatal", "stays"]
"""Of a card's firmware: in a fatal state until it is reset, or after a reset too (`stays`)."""

Owner = int | Literal["pf"]
"""What a command is about: the sub-function of this number, or the physical function."""

DEBUGFS = "/sys/kernel/debug/mlx5fw"
RESET_MS = 2500
"""How long a reset of the firmware takes, unless it is told otherwise."""


class Status(IntEnum):
    """How a command ends; beside it, what the driver answers to `devlink port add` or `set` then."""

    OK = 0x0
    INTERNAL_ERROR = 0x1
    """EIO."""
    BAD_PARAMETER = 0x3
    """EINVAL."""
    BAD_SYSTEM_STATE = 0x4
    """EIO."""
    BAD_RESOURCE = 0x5
    """EINVAL."""
    EXCEEDED_LIMITS = 0x8
    """ENOMEM."""
    BAD_RESOURCE_STATE = 0x9
    """EINVAL."""
    NO_RESOURCES = 0xF
    """EAGAIN."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command as the firmware answered it."""

    opcode: str
    owner: Owner | None
    """None: a sub-function that has no number yet."""
    status: int


@dataclass(frozen=True, slots=True)
class Firmware:
    """The firmware of one PCI address; see ../mlx5fw/README.md."""

    machine: Machine
    address: str

    @property
    def folder(self) -> str:
        """Its path in the guest."""
        return f"{DEBUGFS}/{self.address}"

    @property
    def clearing(self) -> str:
        """The shell line that takes back everything it is told to do wrong, and begins its records anew."""
        return (
            f"cd {self.folder}; for knob in attach_delay_ms detach_delay_ms hang_detach; do echo 0 > $knob; done; "
            "for knob in fail_next slow; do cat $knob | while read -r opcode value _ owner; do "
            "echo $opcode $value 0 $owner > $knob; done; done; echo 1 > keep_mac; echo well > health; "
            f"echo {RESET_MS} > reset_ms; echo 0 > trace; cd /"
        )

    def fail_next(self, opcode: Opcode, status: Status, count: int = 1, owner: Owner | None = None) -> None:
        """Let the next `count` commands of a kind fail, of this owner only if one is given."""
        self._write("fail_next", opcode, int(status), count, owner)

    def slow(self, opcode: Opcode, milliseconds: int, count: int = 1, owner: Owner | None = None) -> None:
        """Let the next `count` commands of a kind be answered late."""
        self._write("slow", opcode, milliseconds, count, owner)

    def delay(self, *, attach: int | None = None, detach: int | None = None) -> None:
        """Let sub-functions appear and be let go so many milliseconds later than asked."""
        if attach is not None:
            self._write("attach_delay_ms", attach)
        if detach is not None:
            self._write("detach_delay_ms", detach)

    def hang_detach(self, *, on: bool) -> None:
        """Let no sub-function go, until it is switched off again."""
        self._write("hang_detach", int(on))

    def keep_mac(self, *, on: bool) -> None:
        """Whether a slot keeps its address when a sub-function is deleted."""
        self._write("keep_mac", int(on))

    def lose(self, number: int, *, forget: bool = False) -> None:
        """Take a sub-function away; with `forget` it is not reported as let go either."""
        self._write("fw_lost", number, "forget" if forget else None)

    def be(self, health: Health) -> None:
        """Be well or ill, with all functions of the card; the driver looks about once a second."""
        self._write("health", health)

    def delay_reset(self, milliseconds: int) -> None:
        """Let a reset of the card take so long; meanwhile nobody is answered."""
        self._write("reset_ms", milliseconds)

    def resets(self) -> int:
        """How often the card's firmware was reset."""
        return int(self.machine.run(f"cat {self.folder}/resets").stdout)

    def commands(self) -> list[Command]:
        """The commands since the last `forget`, oldest first, as many as are kept."""
        lines = (line.split() for line in self.machine.run(f"cat {self.folder}/trace").stdout.splitlines())
        return [Command(opcode, _owner(owner), int(status, 0)) for opcode, owner, status in lines]

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each command since the last `forget`: how often, and how often it was made to fail."""
        lines = (line.split() for line in self.machine.run(f"cat {self.folder}/counters").stdout.splitlines())
        return {opcode: (int(calls), int(failures)) for opcode, calls, failures in lines}

    def forget(self) -> None:
        """Begin commands and counts anew."""
        self._write("trace", 0)

    def _write(self, knob: str, *words: str | int | None) -> None:
        line = " ".join(str(word) for word in words if word is not None)
        self.machine.run(f"echo {line} > {self.folder}/{knob}")


def _owner(word: str) -> Owner | None:
    if word == "pf":
        return "pf"
    return None if word == "-" else int(word)
