"""The steps between what is and what should be: each is one system call or one file, idempotent, and perhaps the last.

Whatever a step needs to know stands in it.
"""

import dataclasses
from typing import TypeAlias

from subfunction.kernel.address import Handle
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings
from subfunction.kernel.vdpa import VdpaSettings
from subfunction.records import Record


@dataclasses.dataclass(frozen=True, slots=True)
class StoreRecord:
    """Write the record, before the kernel is asked or after it has answered."""

    record: Record


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveRecord:
    """Forget the sub-function: the kernel has nothing of it any more."""

    uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class WriteCdi:
    """Write the CDI file that container runtimes resolve the record's CDI name by."""

    uid: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveCdi:
    """Remove the CDI file: no container may be started with it any more."""

    uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class WriteDeviceInfo:
    """Write the device-info file that Multus and CNI plugins find by resource name and device id."""

    name: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveDeviceInfo:
    """Remove the device-info file."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class CreatePort:
    """`devlink port add HANDLE flavour pcisf pfnum PF sfnum NUMBER`."""

    parent: Handle
    pf: int
    number: int
    controller: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class SetFunction:
    """`devlink port function set HANDLE/INDEX hw_addr MAC ...`.

    With `restoring` a refusal ends nothing: how it was found cannot always be had again.
    """

    parent: Handle
    index: int
    settings: FunctionSettings
    restoring: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Activate:
    """`devlink port function set HANDLE/INDEX state active`."""

    parent: Handle
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deactivate:
    """`devlink port function set HANDLE/INDEX state inactive`."""

    parent: Handle
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class SetParameter:
    """`devlink dev param set INSTANCE name NAME value VALUE cmode driverinit`."""

    instance: Handle
    name: str
    value: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Reload:
    """`devlink dev reload INSTANCE`."""

    instance: Handle


@dataclasses.dataclass(frozen=True, slots=True)
class SetRate:
    """`devlink port function rate set HANDLE/INDEX tx_share SHARE tx_max MAXIMUM`, in bytes/s; 0 is no limit."""

    parent: Handle
    index: int
    share: int | None
    maximum: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class SetLink:
    """`ip link set NETDEV ...`: name, MAC, MTU, up or down, the bridge it is in; `restoring` as in SetFunction."""

    netdev: Netdev
    settings: LinkSettings
    restoring: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class AddVdpa:
    """`vdpa dev add name NAME mgmtdev MANAGEMENT ...`."""

    name: str
    management: Handle
    settings: VdpaSettings


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteVdpa:
    """`vdpa dev del NAME`; only after its driver has let go, since it would stop vdpa netlink for the whole node."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class OverrideDriver:
    """`echo DRIVER > /sys/bus/BUS/devices/DEVICE/driver_override`; None clears it.

    The write takes the device's lock: once it has returned, no unbinding of that device is under way.
    """

    bus: str
    device: str
    driver: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class UnbindDriver:
    """`echo DEVICE > /sys/bus/BUS/drivers/DRIVER/unbind`; waits for whoever has it open."""

    bus: str
    device: str
    driver: str


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeDriver:
    """`echo DEVICE > /sys/bus/BUS/drivers_probe`."""

    bus: str
    device: str


@dataclasses.dataclass(frozen=True, slots=True)
class CreateMediated:
    """`echo UUID > /sys/class/mdev_bus/PARENT/mdev_supported_types/TYPE/create`."""

    parent: Handle
    type: str
    uuid: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveMediated:
    """`echo 1 > /sys/bus/mdev/devices/UUID/remove`; waits for whoever has it open."""

    uuid: str


@dataclasses.dataclass(frozen=True, slots=True)
class DeletePort:
    """`devlink port del HANDLE/INDEX`."""

    parent: Handle
    index: int


Step: TypeAlias = (
    StoreRecord
    | RemoveRecord
    | WriteCdi
    | RemoveCdi
    | WriteDeviceInfo
    | RemoveDeviceInfo
    | CreatePort
    | SetFunction
    | Activate
    | Deactivate
    | SetParameter
    | Reload
    | SetRate
    | SetLink
    | AddVdpa
    | DeleteVdpa
    | OverrideDriver
    | UnbindDriver
    | ProbeDriver
    | CreateMediated
    | RemoveMediated
    | DeletePort
)


@dataclasses.dataclass(frozen=True, slots=True)
class WriteObject:
    """A write to the API server, or to the node's own state: `finalizer`, `status`, `release`, `event`, `names`."""

    what: str
    of: str


Effect: TypeAlias = Step | WriteObject
"""Whatever the agent does to the world: what a crash may come before or after."""
