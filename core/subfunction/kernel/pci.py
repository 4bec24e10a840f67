"""A PCI function that is a parent of sub-functions: its driver, its place in the machine."""

import dataclasses

from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class PciFunction:
    """One PCI function; `numa_node` is None where the firmware does not tell (the kernel says -1).

    `vendor` is the PCI vendor id as sysfs spells it (`0x15b3`); `driver` is None while none is bound.
    """

    handle: Handle
    path: str
    driver: str | None
    vendor: str | None
    numa_node: int | None

    @classmethod
    def at(cls, sysfs: Sysfs, handle: Handle) -> "PciFunction | None":
        """Look at a function (`ls -l /sys/bus/pci/devices/0000:05:00.0`); None where there is none."""
        path = sysfs.resolve(handle.path)
        if path is None:
            return None
        driver = sysfs.target(f"{path}/driver")
        node = sysfs.read(f"{path}/numa_node")
        return cls(
            handle=handle,
            path=path,
            driver=driver.rpartition("/")[2] if driver else None,
            vendor=sysfs.read(f"{path}/vendor"),
            numa_node=int(node) if node and node.isdecimal() else None,
        )
