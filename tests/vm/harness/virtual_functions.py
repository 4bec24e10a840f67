"""The virtual functions of a card that has SR-IOV, by sysfs."""

from dataclasses import dataclass

from harness.machine import Machine
from harness.wait import until

DEVICES = "/sys/bus/pci/devices"


@dataclass(frozen=True, slots=True)
class VirtualFunctions:
    """The virtual functions of one physical one."""

    machine: Machine
    parent: str

    def make(self, count: int) -> tuple[str, ...]:
        """`echo COUNT > .../sriov_numvfs`; their PCI addresses."""
        self.machine.run(f"bash -c 'echo {count} > {DEVICES}/{self.parent}/sriov_numvfs'")
        return self.addresses()

    def addresses(self) -> tuple[str, ...]:
        """The PCI addresses of those there are, in their order."""
        shown = self.machine.run(f"for link in {DEVICES}/{self.parent}/virtfn*; do readlink $link; done", check=False)
        return tuple(line.rpartition("/")[2] for line in shown.stdout.split())

    def driver(self, address: str) -> str | None:
        """The driver a function is bound to."""
        shown = self.machine.run(f"readlink {DEVICES}/{address}/driver", check=False).stdout.strip()
        return shown.rpartition("/")[2] or None

    def bind(self, address: str, driver: str) -> None:
        """Give a function to this driver, whoever had it before; an empty name is the usual one."""
        self.machine.run(
            f"cd {DEVICES}/{address}; echo {driver} > driver_override; "
            f"if [ -e driver ]; then echo {address} > driver/unbind; fi; echo {address} > /sys/bus/pci/drivers_probe"
        )
        until(lambda: self.driver(address), lambda bound: bound is not None)

    def group(self, address: str) -> str:
        """The IOMMU group of a function."""
        return self.machine.run(f"readlink {DEVICES}/{address}/iommu_group").stdout.strip().rpartition("/")[2]

    def group_members(self, group: str) -> tuple[str, ...]:
        """Everything in an IOMMU group."""
        return tuple(self.machine.run(f"ls /sys/kernel/iommu_groups/{group}/devices").stdout.split())
