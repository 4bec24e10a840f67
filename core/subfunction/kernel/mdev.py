"""Mediated devices: what a parent can make of itself, by type, each known by a UUID."""

import dataclasses
import errno
import uuid as uuids
from typing import Final

from subfunction.errors import Gone, KernelError, NoMediatedType
from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.vfio import VfioNodes

BUS: Final = "mdev"
_NAMESPACE: Final = uuids.uuid5(uuids.NAMESPACE_DNS, "subfunction.dev")


@dataclasses.dataclass(frozen=True, slots=True)
class MediatedType:
    """A type that a parent offers: how many more it can make, and what user space sees (`vfio-pci`)."""

    id: str
    available: int | None
    api: str
    name: str | None
    description: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class MediatedDevice:
    """One mediated device; `removable` is False while a removal waits for whoever has it open (see `of`)."""

    uuid: str
    path: str
    inode: int
    type_id: str | None
    driver_link: str | None
    removable: bool
    vfio: VfioNodes | None

    @property
    def driver(self) -> str | None:
        """The name of its driver, which its parent chose."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def named(cls, sysfs: Sysfs, uuid: str) -> "MediatedDevice | None":
        """Look at a device by UUID (`ls -l /sys/bus/mdev/devices`)."""
        return cls._at(sysfs, f"bus/{BUS}/devices/{uuid}", uuid)

    @classmethod
    def of(cls, sysfs: Sysfs, parent: Handle, uuid: str) -> "MediatedDevice | None":
        """Look at a device below its parent, where it stands until its removal has ended; the bus forgets it first."""
        return cls._at(sysfs, f"{parent.path}/{uuid}", uuid)

    @classmethod
    def _at(cls, sysfs: Sysfs, link: str, uuid: str) -> "MediatedDevice | None":
        path = sysfs.resolve(link)
        inode = None if path is None else sysfs.inode(path)
        if path is None or inode is None:
            return None
        return cls(
            uuid=uuid,
            path=path,
            inode=inode,
            type_id=(sysfs.target(f"{path}/mdev_type") or "").rpartition("/")[2] or None,
            driver_link=sysfs.target(f"{path}/driver"),
            removable="remove" in sysfs.names(path),
            vfio=VfioNodes.of(sysfs, path),
        )


def mediated_uuid(uid: str) -> str:
    """Derive the UUID of an object's device from its uid, the same one for ever."""
    return str(uuids.uuid5(_NAMESPACE, uid))


def types(sysfs: Sysfs, handle: Handle) -> tuple[MediatedType, ...]:
    """List what a parent offers (`ls /sys/class/mdev_bus/0000:05:00.0/mdev_supported_types`); most offer nothing."""
    return tuple(_type(sysfs, f"{_types(handle)}/{name}", name) for name in sysfs.names(_types(handle)))


def create(sysfs: Sysfs, handle: Handle, type_id: str, uuid: str) -> None:
    """Make a device (`echo UUID > /sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/TYPE/create`).

    Raises:
        NoMediatedType: the parent does not offer the type, or no more of it; the message says what it offers.
        NotPermitted, KernelError: see sysfs.py; EEXIST where the node has a device of that UUID.
    """
    try:
        sysfs.write(f"{_types(handle)}/{type_id}/create", uuid)
    except Gone as error:
        raise _not_offered(sysfs, handle, f"{handle} offers no mediated device of type {type_id!r}") from error
    except KernelError as error:
        if error.errno != errno.EUSERS:
            raise
        raise _not_offered(sysfs, handle, f"{handle} has no more mediated devices of type {type_id!r}") from error


def remove(sysfs: Sysfs, uuid: str) -> None:
    """Remove a device (`echo 1 > /sys/bus/mdev/devices/UUID/remove`); it waits for whoever has the device open.

    Raises:
        Gone: there is no such device, or a removal of it waits already.
        NotPermitted, KernelError: see sysfs.py; EAGAIN where another removal was faster.
    """
    sysfs.write(f"bus/{BUS}/devices/{uuid}/remove", "1")


def _types(handle: Handle) -> str:
    return f"class/mdev_bus/{handle.device}/mdev_supported_types"


def _type(sysfs: Sysfs, path: str, name: str) -> MediatedType:
    available = sysfs.read(f"{path}/available_instances")
    return MediatedType(
        id=name,
        available=int(available) if available and available.isdecimal() else None,
        api=sysfs.read(f"{path}/device_api") or "",
        name=sysfs.read(f"{path}/name"),
        description=sysfs.read(f"{path}/description"),
    )


def _not_offered(sysfs: Sysfs, handle: Handle, message: str) -> NoMediatedType:
    offered = [f"{offer.id} ({offer.available} left)" for offer in types(sysfs, handle)]
    hint = f"It offers: {', '.join(offered)}." if offered else "Its driver offers no mediated devices at all."
    return NoMediatedType(message, hint=hint)
