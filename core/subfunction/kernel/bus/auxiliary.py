"""Devices on the auxiliary bus, such as that of an active sub-function (`mlx5_core.sf.4`)."""

import dataclasses
import re

from subfunction.kernel.address import Handle
from subfunction.kernel.sysfs import Sysfs

BUS = "auxiliary"
_ETHERNET_CHILD = re.compile(r"[^.]+\.eth\.\d+")


@dataclasses.dataclass(frozen=True, slots=True)
class AuxiliaryDevice:
    """One auxiliary device; the index in its name may change when it is re-created.

    `path` is its directory in sysfs, resolved and relative to the root; `driver_link` is the target of its link
    `driver`, None while no driver is bound.
    """

    name: str
    path: str
    inode: int
    driver_link: str | None

    @property
    def driver(self) -> str | None:
        """Return the name of its driver, None while none is bound."""
        return self.driver_link.rpartition("/")[2] if self.driver_link else None

    @property
    def handle(self) -> Handle:
        """Return the handle of its devlink instance."""
        return Handle(BUS, self.name)

    def instances(self, sysfs: Sysfs) -> tuple[Handle, ...]:
        """List the devlink instances that may have its netdev's port: its own, and on mlx5 its child's too.

        Since 6.3 mlx5 has the port on the child (`devlink port show auxiliary/mlx5_core.eth.4`).
        """
        return (self.handle, *list_ethernet_children(sysfs, self.path))

    @classmethod
    def named(cls, sysfs: Sysfs, name: str) -> "AuxiliaryDevice | None":
        """Read a device by name (`ls -l /sys/bus/auxiliary/devices/mlx5_core.sf.4`); None where there is none."""
        path = sysfs.resolve(f"bus/{BUS}/devices/{name}")
        inode = None if path is None else sysfs.inode(path)
        if path is None or inode is None:
            return None
        return cls(name=name, path=path, inode=inode, driver_link=sysfs.target(f"{path}/driver"))

    @classmethod
    def of_sub_function(cls, sysfs: Sysfs, parent: Handle, number: int) -> "AuxiliaryDevice | None":
        """Find a sub-function's device by its sfnum, for kernels older than 6.7, whose ports do not name the device.

        It finds none of ice's, which have no attribute `sfnum`.
        """
        directory = sysfs.resolve(parent.path)
        for name in sysfs.names(directory) if directory else ():
            if sysfs.read(f"{directory}/{name}/sfnum") == str(number):
                return cls.named(sysfs, name)
        return None


def list_ethernet_children(sysfs: Sysfs, directory: str) -> tuple[Handle, ...]:
    """List the instances of the Ethernet devices directly below a device's directory (`mlx5_core.eth.4`)."""
    return tuple(Handle(BUS, name) for name in sysfs.names(directory) if _ETHERNET_CHILD.fullmatch(name))
