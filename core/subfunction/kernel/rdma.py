"""RDMA devices under a device, and which character devices user space opens for them."""

import dataclasses

from subfunction.kernel.chardev import CharacterDevice
from subfunction.kernel.sysfs import Sysfs


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
    return CharacterDevice.at(sysfs, "class/misc/rdma_cm", "infiniband/rdma_cm")


def namespaces_shared(sysfs: Sysfs) -> bool | None:
    """Say whether each network namespace sees every RDMA device (`rdma system show`); None where there is no RDMA.

    Source: `netns_mode` of ib_core, since Linux 5.2.
    """
    shared = sysfs.read("module/ib_core/parameters/netns_mode")
    return None if shared is None else shared == "Y"


def _verbs(sysfs: Sysfs, device: str, rdma: str) -> CharacterDevice | None:
    for name in sysfs.names(f"{device}/infiniband_verbs"):
        path = f"{device}/infiniband_verbs/{name}"
        if sysfs.read(f"{path}/ibdev") == rdma:
            return CharacterDevice.at(sysfs, path, f"infiniband/{name}")
    return None
