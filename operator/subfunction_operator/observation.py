"""What was seen of one sub-function at one moment: kernel, record, holders. Plain values, so that a plan is pure."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, TypeAlias

from subfunction.api import GROUP, AllocatedTo, ConditionType, SubFunction
from subfunction.claims import PortClaim
from subfunction.errors import UnsupportedField
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.auxiliary import AuxiliaryDevice
from subfunction.kernel.chardev import CharacterDevice
from subfunction.kernel.devlink import RateLeaf
from subfunction.kernel.mdev import MediatedDevice, MediatedType
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import PciFunction, VirtualFunction
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice
from subfunction.kernel.vdpa import VdpaDevice
from subfunction.kernel.vfio import GroupMember, VfioNodes
from subfunction.records import Record

Delivery: TypeAlias = Literal["direct", "cdi"]


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a node decides for all: the range of numbers, where the host has `/dev`, the domains of resource names.

    `device_nodes` is the way in which they get into a container: in Allocate's answer, or by CDI. `net_devices` are the
    resources whose netdev the container runtime moves there (by CDI).
    """

    numbers: range = range(1, 1000)
    devices: str = "/dev"
    domains: tuple[str, ...] = (GROUP,)
    device_nodes: Delivery = "direct"
    net_devices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Papers:
    """What is on disk for others to read, as text: the CDI file, the device-info file. None where there is none."""

    cdi: str | None = None
    device_info: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered from look to look.

    `reloaded`: the function was reloaded, and waits for what that brings; `probed`: its driver was asked to bind;
    `lowered`: it was taken down, and up again since; `waited`: seconds that it has waited for the kernel by now;
    `overdue`: an earlier wait was in vain, and it was not taken down and up again since.
    """

    reloaded: bool = False
    probed: bool = False
    lowered: bool = False
    waited: float = 0.0
    overdue: bool = False


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
        mac = record.claim.mac_address if isinstance(record.claim, PortClaim) else ""
        return cls(record.uid, record.name, Mac.parse(mac) if mac else Mac.derived(record.uid), None, deleting=True)

    @property
    def published(self) -> int | None:
        """The number that the object's status shows, and that is therefore kept for ever."""
        return self.object.status.number if self.object else None

    @property
    def told_ready(self) -> bool:
        """Whether the object says that it is ready."""
        told = self.object.status.condition(ConditionType.READY) if self.object else None
        return told is not None and told.status == "True"


def _mac(wanted: SubFunction) -> Mac:
    # An adopted one that is told no address keeps its own, also when it has to be made again.
    address = wanted.spec.mac_address or (wanted.status.mac_address if wanted.spec.adopt else None)
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
    `recorded` those that other records name, with the names of their owners. `legacy` is asked only where `pf` is not
    to be seen: in that mode mlx5 has its physical port on another instance.
    """

    function: PciFunction
    pf: int | None = None
    taken: frozenset[int] = frozenset()
    shown: Mapping[int, str] = dataclasses.field(default_factory=dict)
    recorded: Mapping[int, str] = dataclasses.field(default_factory=dict)
    legacy: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Whether somebody holds the device. That it cannot be told counts as held; `why` says which it is.

    `asked` is false where the ledger alone was looked at: that is enough for a status, not to touch the device. Where
    the device that somebody was given is no more, `why` says so, and `held` is false: nothing can be taken from him.
    """

    held: bool = False
    why: str = ""
    by: AllocatedTo | None = None
    asked: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One look at a sub-function; None is what is not there.

    `handle` is the parent that was looked for; `witnessed` says that all the record offers is there as recorded.
    `netdev` is what a pod would use, `native` the function's own: with flavour virtio these are two, and `virtio` is
    the directory of the one's device with its inode. `away` and `native_away` are true while they are in another
    network namespace, `name_taken` while another one has the name it was recorded under. `children` are the auxiliary
    devices below the function's own, each with its driver; `drivers` those registered on the bus of its use; `group`
    its whole IOMMU group; `owner` names the record that has it already; `former_bridge`: where its representor was.
    """

    boot_id: str
    handle: str = ""
    parent: Parent | None = None
    record: Record | None = None
    witnessed: bool = False
    port: Port | None = None
    auxiliary: AuxiliaryDevice | None = None
    parameters: tuple[tuple[str, bool | None], ...] = ()
    netdev: Netdev | None = None
    native: Netdev | None = None
    native_away: bool = False
    away: bool = False
    name_taken: bool = False
    rdma: RdmaDevice | None = None
    connection_manager: CharacterDevice | None = None
    rdma_exclusive: bool = False
    representor: Netdev | None = None
    bridge: Netdev | None = None
    former_bridge: Netdev | None = None
    rate: RateLeaf | None = None
    children: tuple[tuple[str, str | None], ...] = ()
    vdpas: tuple[VdpaDevice, ...] = ()
    virtio: tuple[str, int] | None = None
    virtual_function: VirtualFunction | None = None
    group: tuple[GroupMember, ...] = ()
    vfio: VfioNodes | None = None
    types: tuple[MediatedType, ...] = ()
    mediated: MediatedDevice | None = None
    drivers: frozenset[str] = frozenset()
    owner: str = ""
    papers: Papers = Papers()
    usage: Usage = Usage()

    @property
    def claim(self) -> PortClaim | None:
        """What the record claims, where that is a port."""
        claim = self.record.claim if self.record else None
        return claim if isinstance(claim, PortClaim) else None

    @property
    def rdma_nodes(self) -> tuple[CharacterDevice, ...]:
        """What user space opens for RDMA: the verbs device, and the connection manager that all share."""
        verbs = self.rdma.verbs if self.rdma else None
        return tuple(device for device in (verbs, self.connection_manager) if device is not None) if verbs else ()

    @property
    def held(self) -> bool:
        """Whether a pod has it, as far as can be told."""
        return self.usage.held or self.away

    @property
    def why_held(self) -> str:
        """Who has it, in words."""
        return self.usage.why or "its netdev is in the namespace of a pod"

    @property
    def child_handles(self) -> tuple[Handle, ...]:
        """The instances of the devices below the function's own, of which that of its netdev is one."""
        return tuple(Handle("auxiliary", name) for name, _ in self.children)

    def child(self, kind: str) -> tuple[str, str | None] | None:
        """Give the child of a kind (`vnet` of `mlx5_core.vnet.4`) and its driver."""
        return next((child for child in self.children if child[0].split(".")[1] == kind), None)

    def vdpa(self, name: str) -> VdpaDevice | None:
        """Give the vDPA device of that name."""
        return next((device for device in self.vdpas if device.name == name), None)

    @property
    def this_boot(self) -> bool:
        """Whether the record speaks of the kernel that is running."""
        return self.record is not None and self.record.boot_id == self.boot_id
