"""PCI functions: the parents of sub-functions, and their virtual functions."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction.kernel.bus.vfio import read_group
from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class PciFunction:
    """One PCI function; `numa_node` is None where the firmware names none (the kernel shows -1).

    `vendor` is the PCI vendor id as sysfs spells it (`0x15b3`); `driver` is None while none is bound. A `virtual`
    function may have a devlink instance of its own, but is no parent of sub-functions.
    """

    handle: Handle
    path: str
    driver: str | None
    vendor: str | None
    numa_node: int | None
    virtual: bool = False

    @property
    def number(self) -> int:
        """Return the function's number on its device (`1` of `0000:05:00.1`; PCI_FUNC of its devfn)."""
        return int(self.handle.device.rpartition(".")[2], 16)

    @property
    def pcie_root(self) -> str:
        """Return the PCIe root above it (`pci0000:00`); empty where sysfs shows none."""
        top = self.path.removeprefix("devices/").partition("/")[0]
        return top if top.startswith("pci") else ""

    @classmethod
    def at(cls, sysfs: Sysfs, handle: Handle) -> "PciFunction | None":
        """Read a function (`ls -l /sys/bus/pci/devices/0000:05:00.0`); None where there is none."""
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


def list_physical_functions(sysfs: Sysfs) -> tuple[PciFunction, ...]:
    """List the physical functions that a driver is bound to, sorted by their addresses."""
    found = (PciFunction.at(sysfs, Handle("pci", name)) for name in sysfs.names("bus/pci/devices"))
    return tuple(function for function in found if function and function.driver and not function.virtual)


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
        """Return the name of its driver, None while none is bound."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @classmethod
    def at(cls, sysfs: Sysfs, parent: Handle, index: int) -> "VirtualFunction | None":
        """Read a parent's virtual function, if any (`ls -l /sys/bus/pci/devices/0000:05:00.0/virtfn0`)."""
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
            group=read_group(sysfs, path),
        )


def list_virtual_functions(sysfs: Sysfs, parent: Handle) -> tuple[VirtualFunction, ...]:
    """List a parent's virtual functions, sorted by index."""
    numbers = (name.removeprefix("virtfn") for name in sysfs.names(parent.path) if name.startswith("virtfn"))
    indices = sorted(int(number) for number in numbers if number.isdecimal())
    return tuple(function for index in indices if (function := VirtualFunction.at(sysfs, parent, index)))


def _numa_node(sysfs: Sysfs, path: str) -> int | None:
    node = sysfs.read(f"{path}/numa_node")
    return int(node) if node and node.isdecimal() else None
