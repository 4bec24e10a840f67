"""Mediated devices of a machine, by sysfs."""

from dataclasses import dataclass

from harness.machine import Machine, Process

PARENTS = "/sys/class/mdev_bus"
DEVICES = "/sys/bus/mdev/devices"


@dataclass(frozen=True, slots=True)
class Mediated:
    """The mediated devices of one machine."""

    machine: Machine

    def types(self, parent: str) -> tuple[str, ...]:
        """The types a parent offers (`mlx5_core-local`)."""
        return tuple(self.machine.run(f"ls {PARENTS}/{parent}/mdev_supported_types").stdout.split())

    def available(self, parent: str, kind: str) -> int:
        """How many more of a type there can be."""
        return int(self.machine.run(f"cat {PARENTS}/{parent}/mdev_supported_types/{kind}/available_instances").stdout)

    def create(self, parent: str, kind: str, uuid: str) -> None:
        """`echo UUID > .../create`."""
        self.machine.run(f"echo {uuid} > {PARENTS}/{parent}/mdev_supported_types/{kind}/create")

    def remove(self, uuid: str) -> None:
        """`echo 1 > .../remove`; waits for whoever has it open."""
        self.machine.run(f"echo 1 > {DEVICES}/{uuid}/remove")

    def remove_later(self, uuid: str) -> Process:
        """The same, in the background."""
        return self.machine.spawn(f"echo 1 > {DEVICES}/{uuid}/remove", name=f"remove-{uuid}")

    def group(self, uuid: str) -> str:
        """The IOMMU group of one: `9` for /dev/vfio/9."""
        return self.machine.run(f"readlink {DEVICES}/{uuid}/iommu_group").stdout.strip().rpartition("/")[2]

    def exists(self, uuid: str) -> bool:
        """Whether there is such a device."""
        return self.machine.run(f"test -e {DEVICES}/{uuid}", check=False).code == 0
