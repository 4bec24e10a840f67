"""What was seen of one sub-function at one moment: kernel, record, holders. Plain values, so that a plan is pure."""

import dataclasses

from subfunction.api import GROUP, AllocatedTo, SubFunction
from subfunction.errors import UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.auxiliary import AuxiliaryDevice
from subfunction.kernel.chardev import CharacterDevice
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import PciFunction
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice
from subfunction.records import Record


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a node decides for all: the range of numbers, where the host has `/dev`, the domains of resource names."""

    numbers: range = range(1, 1000)
    devices: str = "/dev"
    domains: tuple[str, ...] = (GROUP,)


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered from look to look.

    `reloaded`: the function was reloaded, and waits for what that brings; `ask`: the kubelet is asked who has it.
    """

    reloaded: bool = False
    ask: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """What is asked for: an object, or a record whose object is gone and which therefore goes too.

    `mac` is the object's own, or the one derived from its uid.
    """

    uid: str
    name: str
    mac: Mac
    object: SubFunction | None
    deleting: bool

    @classmethod
    def of(cls, sub_function: SubFunction) -> "Desired":
        """Take over what an object asks for.

        Raises:
            UnsupportedField: its MAC is none.
        """
        return cls(sub_function.uid, sub_function.name, _mac(sub_function), sub_function, sub_function.deleting)

    @classmethod
    def orphan(cls, record: Record) -> "Desired":
        """Let a record go whose object does not exist any more."""
        return cls(record.uid, record.name, Mac.parse(record.claim.mac_address), None, deleting=True)

    @property
    def published(self) -> int | None:
        """The number that the object's status shows, and that is therefore kept for ever."""
        return self.object.status.number if self.object else None


def _mac(wanted: SubFunction) -> Mac:
    address = wanted.spec.mac_address
    if not address:
        return Mac.derived(wanted.uid)
    try:
        return Mac.parse(address)
    except ValueError as error:
        if wanted.deleting:
            return Mac.derived(wanted.uid)  # what was never set need not be right to go
        raise UnsupportedField(str(error), hint="Mend spec.macAddress.") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Parent:
    """The parent as it is: its PCI function, and the number that its sub-functions name as their `pf`.

    `pf` is None where only one port was looked at; `taken` are the numbers that its ports and other objects have,
    `recorded` those that other records name.
    """

    function: PciFunction
    pf: int | None = None
    taken: frozenset[int] = frozenset()
    recorded: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Whether somebody holds the device. That it cannot be told counts as held; `why` says which it is.

    `asked` is false where the ledger alone was looked at: that is enough for a status, not to touch the device.
    """

    held: bool = False
    why: str = ""
    by: AllocatedTo | None = None
    asked: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One look at a sub-function; None is what is not there.

    `handle` is the parent that was looked for; `away` is true while the function's netdev is in another network
    namespace.
    """

    boot_id: str
    handle: str = ""
    parent: Parent | None = None
    record: Record | None = None
    port: Port | None = None
    auxiliary: AuxiliaryDevice | None = None
    parameters: tuple[tuple[str, bool | None], ...] = ()
    netdev: Netdev | None = None
    away: bool = False
    rdma: RdmaDevice | None = None
    connection_manager: CharacterDevice | None = None
    representor: Netdev | None = None
    usage: Usage = Usage()

    @property
    def this_boot(self) -> bool:
        """Whether the record speaks of the kernel that is running."""
        return self.record is not None and self.record.boot_id == self.boot_id
