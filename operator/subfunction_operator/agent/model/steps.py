"""The steps of a plan: each is one request to the kernel or one file, idempotent, with all that its execution needs.

The agent may be killed before and after each step, so that a plan must be right from whatever was done last.
"""

import dataclasses
from typing import TypeAlias

from subfunction.kernel.address import Handle
from subfunction.kernel.bus.vdpa import VdpaSettings
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.port import FunctionSettings
from subfunction.state.records import Record


@dataclasses.dataclass(frozen=True, slots=True)
class StoreRecord:
    """Write the record: before a request to the kernel (what is intended), or after it (what the kernel answered)."""

    record: Record


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveRecord:
    """Remove the record: we have nothing left to do with the sub-function.

    In the kernel nothing is left of it either, but with deletionPolicy `Retain`, and where the port is not ours.
    """

    uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class WriteCdi:
    """Write the CDI file by which container runtimes resolve the record's CDI name."""

    uid: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveCdi:
    """Remove the CDI file: no container can be started with the device any more."""

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
    """`devlink port add HANDLE flavour pcisf pfnum PF sfnum NUMBER`, with each of `pfs` until one is not refused."""

    parent: Handle
    number: int
    pfs: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SetSwitchdev:
    """`devlink dev eswitch set HANDLE mode switchdev`."""

    parent: Handle


@dataclasses.dataclass(frozen=True, slots=True)
class SetFunction:
    """`devlink port function set HANDLE/INDEX hw_addr MAC ...`.

    With `restoring` a refusal is logged and the plan goes on: a kernel may refuse the value that was found at first.
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
    value: ParameterValue


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
    """`vdpa dev del NAME`; only after its driver was unbound, else it may block vdpa netlink for the whole node."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class OverrideDriver:
    """`echo DRIVER > /sys/bus/BUS/devices/DEVICE/driver_override`; None clears it.

    The write takes the device's lock: after it has returned, no unbinding of that device is under way.
    """

    bus: str
    device: str
    driver: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class UnbindDriver:
    """`echo DEVICE > /sys/bus/BUS/drivers/DRIVER/unbind`; waits until every process has closed the device."""

    bus: str
    device: str
    driver: str


@dataclasses.dataclass(frozen=True, slots=True)
class BindDriver:
    """`echo DEVICE > /sys/bus/BUS/drivers/DRIVER/bind`: for a device that several drivers match.

    A driver that does not take it leaves the device without one, as at a probe by the bus.
    """

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
    """`echo 1 > /sys/bus/mdev/devices/UUID/remove`; waits until every process has closed the device."""

    uuid: str


@dataclasses.dataclass(frozen=True, slots=True)
class DeletePort:
    """`devlink port del HANDLE/INDEX`."""

    parent: Handle
    index: int


SysfsWrite: TypeAlias = OverrideDriver | UnbindDriver | BindDriver | ProbeDriver | CreateMediated | RemoveMediated
"""The steps that write to an attribute of sysfs."""

Step: TypeAlias = (
    StoreRecord
    | RemoveRecord
    | WriteCdi
    | RemoveCdi
    | WriteDeviceInfo
    | RemoveDeviceInfo
    | SetSwitchdev
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
    | SysfsWrite
    | DeletePort
)


@dataclasses.dataclass(frozen=True, slots=True)
class WriteObject:
    """A write to the API server (`finalizer`, `release`, `status`, `event`) or of the resource names (`names`)."""

    what: str
    of: str


Effect: TypeAlias = Step | WriteObject
"""Everything that the agent changes outside of its memory; a crash may come before or after each."""
