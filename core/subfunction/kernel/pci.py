"""PCI functions: those that are parents of sub-functions, and their virtual functions."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.vfio import group_of


@dataclasses.dataclass(frozen=True, slots=True)
class PciFunction:
    """One PCI function; `numa_node` is None where the firmware does not tell (the kernel says -1).

    `vendor` is the PCI vendor id as sysfs spells it (`0x15b3`); `driver` is None while none is bound. One that is
    `virtual` may have a devlink instance of its own, and is no parent of sub-functions.
    """

    handle: Handle
    path: str
    driver: str | None
    vendor: str | None
    numa_node: int | None
    virtual: bool = False

    @property
    def pcie_root(self) -> str:
        """The PCIe root it hangs under (`pci0000:00`); empty where sysfs shows none."""
        top = self.path.removeprefix("devices/").partition("/")[0]
        return top if top.startswith("pci") else ""

    @classmethod
    def at(cls, sysfs: Sysfs, handle: Handle) -> "PciFunction | None":
        """Look at a function (`ls -l /sys/bus/pci/devices/0000:05:00.0`); None where there is none."""
        path = sysfs.resolve(handle.path)
        if path is None:
            return None
        driver = sysfs.target(f"{path}/driver")
        return cls(
            handle=handle,
            path=path,
            driver=driver.rpartition("/")[2] if driver else None,
            vendor=sysfs.read(f"{path}/vendor"),
            numa_node=_numa_node(sysfs, path),
            virtual=sysfs.target(f"{path}/physfn") is not None,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class VirtualFunction:
    """A virtual function of a parent; `group` is its IOMMU group, None without an IOMMU."""

    address: str
    index: int
    path: str
    inode: int
    driver_link: str | None
    numa_node: int | None
    group: int | None

    @property
    def driver(self) -> str | None:
        """The name of its driver."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def at(cls, sysfs: Sysfs, parent: Handle, index: int) -> "VirtualFunction | None":
        """Look at a parent's virtual function (`ls -l /sys/bus/pci/devices/0000:05:00.0/virtfn0`)."""
        path = sysfs.resolve(f"{parent.path}/virtfn{index}")
        inode = None if path is None else sysfs.inode(path)
        if path is None or inode is None:
            return None
        return cls(
            address=path.rpartition("/")[2],
            index=index,
            path=path,
            inode=inode,
            driver_link=sysfs.target(f"{path}/driver"),
            numa_node=_numa_node(sysfs, path),
            group=group_of(sysfs, path),
        )


def virtual_functions(sysfs: Sysfs, parent: Handle) -> tuple[VirtualFunction, ...]:
    """List a parent's virtual functions, in their order."""
    numbers = (name.removeprefix("virtfn") for name in sysfs.names(parent.path) if name.startswith("virtfn"))
    indices = sorted(int(number) for number in numbers if number.isdecimal())
    return tuple(function for index in indices if (function := VirtualFunction.at(sysfs, parent, index)))


def _numa_node(sysfs: Sysfs, path: str) -> int | None:
    node = sysfs.read(f"{path}/numa_node")
    return int(node) if node and node.isdecimal() else None
