"""VFIO: the device nodes that user space opens, and the IOMMU groups of devices."""

import dataclasses

from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class VfioNodes:
    """Nodes below `/dev`: group (`vfio/9`), device (`vfio/devices/vfio0`), the container of all groups (`vfio/vfio`).

    `device` is None on kernels without VFIO_DEVICE_CDEV.
    """

    group: CharacterDevice
    device: CharacterDevice | None
    container: CharacterDevice | None

    @classmethod
    def of(cls, sysfs: Sysfs, device: str) -> "VfioNodes | None":
        """Find the nodes of a device, given its directory; None while no VFIO driver is bound to it."""
        number = read_group(sysfs, device)
        # Without an IOMMU the name of the group's node has a prefix.
        names = () if number is None else (str(number), f"noiommu-{number}")
        groups = (CharacterDevice.at(sysfs, f"class/vfio/{name}", f"vfio/{name}") for name in names)
        group = next((found for found in groups if found), None)
        if group is None:
            return None
        devices = sysfs.names(f"{device}/vfio-dev")
        return cls(
            group=group,
            device=CharacterDevice.at(sysfs, f"{device}/vfio-dev/{devices[0]}", f"vfio/devices/{devices[0]}")
            if devices
            else None,
            container=CharacterDevice.at(sysfs, "class/misc/vfio", "vfio/vfio"),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class GroupMember:
    """A device of an IOMMU group; `driver` is None while none is bound to it."""

    address: str
    driver: str | None


def read_group(sysfs: Sysfs, device: str) -> int | None:
    """Read a device's IOMMU group (`readlink /sys/bus/pci/devices/0000:05:00.2/iommu_group`); None without an IOMMU."""
    name = (sysfs.target(f"{device}/iommu_group") or "").rpartition("/")[2]
    return int(name) if name.isdecimal() else None


def list_group_members(sysfs: Sysfs, number: int) -> tuple[GroupMember, ...]:
    """List the devices of a group (`ls /sys/kernel/iommu_groups/9/devices`), which VFIO assigns together."""
    directory = f"kernel/iommu_groups/{number}/devices"
    links = ((name, sysfs.target(f"{directory}/{name}/driver")) for name in sysfs.names(directory))
    return tuple(GroupMember(name, link.rpartition("/")[2] if link else None) for name, link in links)
