"""RDMA devices in sysfs, and the character devices that user space opens for them."""

import dataclasses

from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class RdmaDevice:
    """One RDMA device (`mlx5_0`) and its verbs device (`infiniband/uverbs0`), None until that exists.

    `inode` is that of its directory, `gids` the number of entries in its port's GID table: mlx5 has 64 with RoCE, and
    none where `enable_roce` is off and the device carries raw Ethernet only. Both are None while the device is in
    another network namespace (`away`): its directory is seen from that one alone, its verbs device from all.

    A move to another namespace keeps the RDMA device and its inode, and gives it another verbs device: of the lowest
    free number, which is mostly the one it had (`rdma_dev_change_netns`, drivers/infiniband/core/device.c, 6.12).
    """

    name: str
    path: str
    verbs: CharacterDevice | None
    inode: int | None = None
    gids: int | None = None
    away: bool = False

    @classmethod
    def under(cls, sysfs: Sysfs, device: str) -> "RdmaDevice | None":
        """Find the RDMA device of a device's directory (`ls /sys/bus/auxiliary/devices/mlx5_core.sf.4/infiniband`)."""
        if (found := cls._seen_here(sysfs, device)) is not None or are_namespaces_shared(sysfs) is not False:
            return found
        # The verbs device comes after the RDMA device and goes before it. It is read first, so that an RDMA device that
        # has just come is not taken for one that is away.
        for verbs in sysfs.names(f"{device}/infiniband_verbs"):
            if (name := sysfs.read(f"{device}/infiniband_verbs/{verbs}/ibdev")) is None:
                continue
            node = _find_verbs(sysfs, device, name)
            return cls._seen_here(sysfs, device) or cls(name, f"{device}/infiniband/{name}", node, away=True)
        return None

    @classmethod
    def _seen_here(cls, sysfs: Sysfs, device: str) -> "RdmaDevice | None":
        for name in sysfs.names(f"{device}/infiniband"):
            path = f"{device}/infiniband/{name}"
            verbs, gids = _find_verbs(sysfs, device, name), len(sysfs.names(f"{path}/ports/1/gids"))
            return cls(name, path, verbs, sysfs.inode(path), gids)
        return None


def find_connection_manager(sysfs: Sysfs) -> CharacterDevice | None:
    """Find `/dev/infiniband/rdma_cm`, which all RDMA users of a host share; None where its module is not loaded."""
    return CharacterDevice.at(sysfs, "class/misc/rdma_cm", "infiniband/rdma_cm")


def are_namespaces_shared(sysfs: Sysfs) -> bool | None:
    """Return whether every network namespace sees every RDMA device (`rdma system show`); None without RDMA.

    Source: `netns_mode` of ib_core, since Linux 5.2.
    """
    shared = sysfs.read("module/ib_core/parameters/netns_mode")
    return None if shared is None else shared == "Y"


def _find_verbs(sysfs: Sysfs, device: str, rdma: str) -> CharacterDevice | None:
    for name in sysfs.names(f"{device}/infiniband_verbs"):
        path = f"{device}/infiniband_verbs/{name}"
        if sysfs.read(f"{path}/ibdev") == rdma:
            return CharacterDevice.at(sysfs, path, f"infiniband/{name}")
    return None
