"""What was observed of one sub-function at one moment: kernel, record, use by pods. Values only, for pure planning."""

import dataclasses
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from subfunction.api.conditions import ConditionType
from subfunction.api.subfunction import GROUP, AllocatedTo, SubFunction
from subfunction.errors import UnsupportedField
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.bus.mdev import MediatedDevice, MediatedType
from subfunction.kernel.bus.pci import PciFunction, VirtualFunction
from subfunction.kernel.bus.vdpa import VdpaDevice
from subfunction.kernel.bus.vfio import GroupMember, VfioNodes
from subfunction.kernel.devlink import RateLeaf
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.port import Port
from subfunction.kernel.rdma import RdmaDevice
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record
from subfunction_operator.agent.model.number_ranges import NumberRanges

Delivery: TypeAlias = Literal["direct", "cdi"]


@dataclasses.dataclass(frozen=True, slots=True)
class NodePolicy:
    """The node's settings that plans depend on.

    `numbers` are the ranges of sfnums to choose from, `devices` the host's `/dev`, `domains` those of resource names.
    `device_nodes` is the way by which device nodes get into a container: in Allocate's answer, or by CDI. `net_devices`
    are the resources whose netdev the container runtime moves into the container (by CDI). With `restore_switchdev` a
    parent that had a sub-function of ours is put back into switchdev mode.
    """

    numbers: NumberRanges = dataclasses.field(default_factory=NumberRanges)
    devices: str = "/dev"
    domains: tuple[str, ...] = (GROUP,)
    device_nodes: Delivery = "direct"
    net_devices: tuple[str, ...] = ()
    restore_switchdev: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Artifacts:
    """The text of the files that others read: the CDI file and the device-info file. None where there is no file."""

    cdi: str | None = None
    device_info: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class RetryState:
    """What was tried already; it is passed from one observation to the next, and no file has it.

    `reloaded`: the function was reloaded, and its class devices may not exist yet. `probed`: a driver was asked to
    bind, `just_probed`: in this run. `deactivated`: the function was deactivated, to be activated again. `waited`:
    seconds that it has waited for the kernel. `overdue`: the last wait reached its deadline, and the function was not
    deactivated since. `deleted_ports` counts the ports of this sub-function that were deleted, since a wait is for one
    port: after a deletion another wait begins. `no_restore`: why its parent must not be put into switchdev mode now.
    """

    reloaded: bool = False
    probed: bool = False
    just_probed: bool = False
    deactivated: bool = False
    waited: float = 0.0
    overdue: bool = False
    deleted_ports: int = 0
    no_restore: str | None = None


FRESH: Final = RetryState()
"""The state of a sub-function for which nothing was tried yet."""


@dataclasses.dataclass(frozen=True, slots=True)
class Desired:
    """What is asked for: an object, or the deletion of a record whose object does not exist any more.

    `mac` is the address that the object asks for, or the one derived from its uid.
    """

    uid: str
    name: str
    mac: Mac
    object: SubFunction | None
    deleting: bool

    @classmethod
    def of(cls, sub_function: SubFunction) -> "Desired":
        """Return what an object asks for.

        Raises:
            UnsupportedField: spec.macAddress is not a MAC.
        """
        return cls(sub_function.uid, sub_function.name, _mac(sub_function), sub_function, sub_function.deleting)

    @classmethod
    def orphan(cls, record: Record) -> "Desired":
        """Return the deletion of a record whose object does not exist any more."""
        mac = record.claim.mac_address if isinstance(record.claim, PortClaim) else ""
        return cls(record.uid, record.name, Mac.parse(mac) if mac else Mac.derived(record.uid), None, deleting=True)

    def on(self, parent: str) -> "Desired":
        """Return the same on a parent: what the object's status shows of another parent binds nothing here.

        PCI addresses move when a card is added or a slot is swapped, and the parent was looked for by its name or its
        qualities.
        """
        if self.object is None or self.object.status.parent in {None, parent}:
            return self
        status = msgspec.structs.replace(self.object.status, parent=None, number=None, port=None, device=None)
        return dataclasses.replace(self, object=msgspec.structs.replace(self.object, status=status))

    @property
    def status_number(self) -> int | None:
        """The number that the object's status shows; once shown, it is never changed."""
        return self.object.status.number if self.object else None

    @property
    def reports_ready(self) -> bool:
        """Whether the object's Ready condition is True."""
        ready = self.object.status.condition(ConditionType.READY) if self.object else None
        return ready is not None and ready.status == "True"


def _mac(wanted: SubFunction) -> Mac:
    # An adopted sub-function without spec.macAddress keeps its own address, also when it must be created again.
    address = wanted.spec.mac_address or (wanted.status.mac_address if wanted.spec.adopt else None)
    if not address:
        return Mac.derived(wanted.uid)
    try:
        return Mac.parse(address)
    except ValueError as error:
        if wanted.deleting:
            return Mac.derived(wanted.uid)  # an address that was never set must not block the deletion
        raise UnsupportedField(str(error), hint="Correct spec.macAddress.") from error


@dataclasses.dataclass(frozen=True, slots=True)
class Parent:
    """The parent as it was observed: its PCI function, its pfnums, and the numbers that cannot be chosen there.

    `pfs` are the pfnums to try in a port add, the likeliest first; empty where only one port was observed. `taken` are
    the numbers that its ports, other objects and other records have, and those that the kernel refused in the last
    30 s. `shown` are those in the statuses of other objects, `recorded` those in other records, each with its owner's
    name. `legacy` (e-switch mode), `failed` (a fatal error of the card was not recovered), `reload_failed`, `absent`
    (no devlink instance) and `elsewhere` (no e-switch, though there is room: another processor manages it) are read
    only where the parent has no sub-function port: none of them allows one. `stranded`: it is in legacy mode and has
    sub-function ports all the same, which most drivers do not allow. `functions` are the virtual functions and mediated
    devices of a parent in legacy mode, which a change of the mode would reset.
    """

    function: PciFunction
    pfs: tuple[int, ...] = ()
    taken: frozenset[int] = frozenset()
    shown: Mapping[int, str] = dataclasses.field(default_factory=dict)
    recorded: Mapping[int, str] = dataclasses.field(default_factory=dict)
    legacy: bool = False
    failed: bool = False
    reload_failed: bool = False
    absent: bool = False
    elsewhere: bool = False
    stranded: bool = False
    functions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Whether a pod uses the device, and by which evidence (`why`). It counts as in use where that cannot be told.

    `refreshed` is false where only the ledger was read: that is enough for a status, but not for a change of the
    device. For a pod whose device does not exist any more, `why` says so and `in_use` is false: a change takes nothing
    from the pod that it still has.
    """

    in_use: bool = False
    why: str = ""
    by: AllocatedTo | None = None
    refreshed: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """One observation of a sub-function; None where the thing does not exist.

    `handle` is the parent that was looked for. `witness_holds`: all that the record publishes exists as recorded; false
    where it publishes nothing. `made`: the port is the one that a request of this run made. `unlisted`: a representor
    shows our number while the kernel lists no such port. `waits_for` says what the auxiliary device of an active port
    waits for. `netdev` is what a pod would use, `native` the function's own; with flavour virtio these are two, and
    `virtio` is the directory of the former's virtio device with its inode. `netdev_away` and `native_away`: the netdev
    is in another network namespace. With `netdev_away`, or an RDMA device that is away, the device counts as in use,
    whatever the kubelet answers. `rdma_exclusive`: an RDMA device is in one namespace at a time, and may be moved.
    `name_taken`: another netdev has the name that was recorded for it. `children` are the auxiliary devices below the
    function's own, each with its driver. `drivers` are those registered on the bus that its flavour uses. `group` is
    the whole IOMMU group. `owner` names the SubFunction that has the virtual function already. `former_bridge` is the
    bridge that its representor was in before we used it. `no_bridge` is the kind of the link that has the name of the
    bridge that the spec asks for and is none (`openvswitch`; empty for the netdev of a device).
    """

    boot_id: str
    handle: str = ""
    parent: Parent | None = None
    record: Record | None = None
    witness_holds: bool = False
    port: Port | None = None
    made: bool = False
    unlisted: bool = False
    waits_for: str = ""
    auxiliary: AuxiliaryDevice | None = None
    reload_failed: bool = False
    parameters: tuple[tuple[str, ParameterValue | None], ...] = ()
    netdev: Netdev | None = None
    native: Netdev | None = None
    native_away: bool = False
    netdev_away: bool = False
    name_taken: bool = False
    rdma: RdmaDevice | None = None
    connection_manager: CharacterDevice | None = None
    rdma_exclusive: bool = False
    representor: Netdev | None = None
    bridge: Netdev | None = None
    no_bridge: str | None = None
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
    artifacts: Artifacts = Artifacts()
    usage: Usage = Usage()

    @property
    def claim(self) -> PortClaim | None:
        """The record's claim where it is a port, else None."""
        claim = self.record.claim if self.record else None
        return claim if isinstance(claim, PortClaim) else None

    @property
    def announced(self) -> bool:
        """Whether the record says that a port add was requested, and its answer was not recorded."""
        claim = self.claim
        return claim is not None and self.this_boot and claim.port_index is None and not claim.refused

    @property
    def rdma_nodes(self) -> tuple[CharacterDevice, ...]:
        """The device nodes that user space opens for RDMA: its verbs device, and the shared connection manager."""
        verbs = self.rdma.verbs if self.rdma else None
        return tuple(device for device in (verbs, self.connection_manager) if device is not None) if verbs else ()

    @property
    def in_use(self) -> bool:
        """Whether a pod uses it; true where that cannot be told."""
        return self.usage.in_use or self.netdev_away or self.rdma_away

    @property
    def rdma_away(self) -> bool:
        """Whether its RDMA device is in another network namespace."""
        return self.rdma is not None and self.rdma.away

    @property
    def why_in_use(self) -> str:
        """Which pod uses it, or why that cannot be told, in words."""
        moved = "RDMA device" if self.rdma_away and not self.netdev_away else "netdev"
        return self.usage.why or f"its {moved} is in the namespace of a pod"

    @property
    def child_handles(self) -> tuple[Handle, ...]:
        """The devlink instances of the auxiliary devices below the function's own; one of them has the netdev."""
        return tuple(Handle("auxiliary", name) for name, _ in self.children)

    def child(self, kind: str) -> tuple[str, str | None] | None:
        """Return the child of a kind (`vnet` of `mlx5_core.vnet.4`) and its driver."""
        return next((child for child in self.children if child[0].split(".")[1] == kind), None)

    def vdpa(self, name: str) -> VdpaDevice | None:
        """Return the vDPA device of that name."""
        return next((device for device in self.vdpas if device.name == name), None)

    @property
    def this_boot(self) -> bool:
        """Whether the record was written in this boot."""
        return self.record is not None and self.record.boot_id == self.boot_id
