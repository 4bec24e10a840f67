"""A device on the auxiliary bus: what an active sub-function looks like (`mlx5_core.sf.4`)."""

import dataclasses
import re

from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs

BUS = "auxiliary"
_ETHERNET_CHILD = re.compile(r"[^.]+\.eth\.\d+")


@dataclasses.dataclass(frozen=True, slots=True)
class AuxiliaryDevice:
    """One auxiliary device; its name's number is the bus's own index and moves, `number` (the sfnum) does not.

    `path` is its directory in sysfs, resolved and relative to the root; `driver_link` is what its link `driver` says,
    None while no driver is bound.
    """

    name: str
    path: str
    inode: int
    driver_link: str | None
    number: int | None

    @property
    def driver(self) -> str | None:
        """The name of its driver."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @property
    def handle(self) -> Handle:
        """Its devlink instance."""
        return Handle(BUS, self.name)

    def instances(self, sysfs: Sysfs) -> tuple[Handle, ...]:
        """List the devlink instances that may have the port of its netdev: its own, and on mlx5 its child's too.

        Since 6.3 mlx5 has the port on the child (`devlink port show auxiliary/mlx5_core.eth.4`).
        """
        children = (name for name in sysfs.names(self.path) if _ETHERNET_CHILD.fullmatch(name))
        return (self.handle, *(Handle(BUS, name) for name in children))

    @classmethod
    def named(cls, sysfs: Sysfs, name: str) -> "AuxiliaryDevice | None":
        """Look at a device by name (`ls -l /sys/bus/auxiliary/devices/mlx5_core.sf.4`)."""
        path = sysfs.resolve(f"bus/{BUS}/devices/{name}")
        inode = None if path is None else sysfs.inode(path)
        if path is None or inode is None:
            return None
        number = sysfs.read(f"{path}/sfnum")
        return cls(
            name=name,
            path=path,
            inode=inode,
            driver_link=sysfs.target(f"{path}/driver"),
            # ice has no such attribute.
            number=int(number) if number and number.isdecimal() else None,
        )

    @classmethod
    def of_sub_function(cls, sysfs: Sysfs, parent: Handle, number: int) -> "AuxiliaryDevice | None":
        """Find a sub-function's device by its number, on kernels older than 6.7 that do not name it with the port."""
        directory = sysfs.resolve(parent.path)
        for name in sysfs.names(directory) if directory else ():
            if sysfs.read(f"{directory}/{name}/sfnum") == str(number):
                return cls.named(sysfs, name)
        return None
