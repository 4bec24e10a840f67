"""Mediated devices: the types that a parent offers, and devices of them, each named by a UUID."""

import dataclasses
import errno
import uuid as uuids
from typing import Final

from subfunction.errors import Gone, KernelError, NoMediatedType
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.vfio import VfioNodes
from subfunction.kernel.sysfs import Sysfs

BUS: Final = "mdev"
_NAMESPACE: Final = uuids.uuid5(uuids.NAMESPACE_DNS, "subfunction.dev")


@dataclasses.dataclass(frozen=True, slots=True)
class MediatedType:
    """A type that a parent offers; `available` counts devices it can still make, `api` is user space's (`vfio-pci`)."""

    id: str
    available: int | None
    api: str


@dataclasses.dataclass(frozen=True, slots=True)
class MediatedDevice:
    """One mediated device; `removable` is False while a removal waits until the device is closed (see `of`)."""

    uuid: str
    path: str
    inode: int
    type_id: str | None
    driver_link: str | None
    removable: bool
    vfio: VfioNodes | None

    @property
    def driver(self) -> str | None:
        """Return the name of its driver, which its parent chose; None while none is bound."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def of(cls, sysfs: Sysfs, parent: Handle, uuid: str) -> "MediatedDevice | None":
        """Read a device below its parent, where it is listed until its removal has ended; the bus drops it earlier."""
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


def derive_uuid(uid: str) -> str:
    """Derive the UUID of an object's device from its uid; one uid always gives the same."""
    return str(uuids.uuid5(_NAMESPACE, uid))


def list_types(sysfs: Sysfs, handle: Handle) -> tuple[MediatedType, ...]:
    """List a parent's types (`ls /sys/class/mdev_bus/0000:05:00.0/mdev_supported_types`); most parents have none."""
    return tuple(_read_type(sysfs, f"{_types_path(handle)}/{name}", name) for name in sysfs.names(_types_path(handle)))


def list_devices(sysfs: Sysfs, handle: Handle) -> tuple[str, ...]:
    """List the UUIDs of a parent's devices (`ls /sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/*/devices`)."""
    types = _types_path(handle)
    return tuple(uuid for kind in sysfs.names(types) for uuid in sysfs.names(f"{types}/{kind}/devices"))


def create(sysfs: Sysfs, handle: Handle, type_id: str, uuid: str) -> None:
    """Make a device (`echo UUID > /sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/TYPE/create`).

    Raises:
        NoMediatedType: the parent does not offer the type, or no more of it; the hint lists what it offers.
        NotPermitted, KernelError: see sysfs.py; EEXIST where the node has a device of that UUID.
    """
    try:
        sysfs.write(f"{_types_path(handle)}/{type_id}/create", uuid)
    except Gone as error:
        raise _not_offered(sysfs, handle, f"{handle} offers no mediated device of type {type_id!r}") from error
    except KernelError as error:
        if error.errno != errno.EUSERS:
            raise
        raise _not_offered(sysfs, handle, f"{handle} has no more mediated devices of type {type_id!r}") from error


def remove(sysfs: Sysfs, uuid: str) -> None:
    """Remove a device (`echo 1 > /sys/bus/mdev/devices/UUID/remove`); this blocks until all users have closed it.

    Raises:
        Gone: there is no such device, or an earlier removal of it is still waiting.
        NotPermitted, KernelError: see sysfs.py; EAGAIN where another removal was faster.
    """
    sysfs.write(f"bus/{BUS}/devices/{uuid}/remove", "1")


def _types_path(handle: Handle) -> str:
    return f"class/mdev_bus/{handle.device}/mdev_supported_types"


def _read_type(sysfs: Sysfs, path: str, name: str) -> MediatedType:
    available = sysfs.read(f"{path}/available_instances")
    return MediatedType(
        id=name,
        available=int(available) if available and available.isdecimal() else None,
        api=sysfs.read(f"{path}/device_api") or "",
    )


def _not_offered(sysfs: Sysfs, handle: Handle, message: str) -> NoMediatedType:
    offered = [f"{offer.id} ({offer.available} left)" for offer in list_types(sysfs, handle)]
    hint = f"It offers: {', '.join(offered)}." if offered else "Its driver offers no mediated devices at all."
    return NoMediatedType(message, hint=hint)
