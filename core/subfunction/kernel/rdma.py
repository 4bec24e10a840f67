"""RDMA devices under a device, and the character devices that user space opens for them."""

import dataclasses

from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class CharacterDevice:
    """A device node: its name below `/dev`, its directory in sysfs, its number as `major:minor`."""

    name: str
    path: str
    number: str


@dataclasses.dataclass(frozen=True, slots=True)
class RdmaDevice:
    """One RDMA device (`mlx5_0`) and its verbs device (`infiniband/uverbs0`), None until that is there."""

    name: str
    path: str
    verbs: CharacterDevice | None

    @classmethod
    def under(cls, sysfs: Sysfs, device: str) -> "RdmaDevice | None":
        """Find the RDMA device of a device's directory (`ls /sys/bus/auxiliary/devices/mlx5_core.sf.4/infiniband`)."""
        for name in sysfs.names(f"{device}/infiniband"):
            return cls(name, f"{device}/infiniband/{name}", _verbs(sysfs, device, name))
        return None


def connection_manager(sysfs: Sysfs) -> CharacterDevice | None:
    """Find `/dev/infiniband/rdma_cm`, which all RDMA users of a host share; None where its module is not loaded."""
    number = sysfs.read("class/misc/rdma_cm/dev")
    path = sysfs.resolve("class/misc/rdma_cm")
    return CharacterDevice("infiniband/rdma_cm", path, number) if number and path else None


def _verbs(sysfs: Sysfs, device: str, rdma: str) -> CharacterDevice | None:
    for name in sysfs.names(f"{device}/infiniband_verbs"):
        path = f"{device}/infiniband_verbs/{name}"
        number = sysfs.read(f"{path}/dev")
        if number and sysfs.read(f"{path}/ibdev") == rdma:
            return CharacterDevice(f"infiniband/{name}", path, number)
    return None
