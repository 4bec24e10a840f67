"""Character devices, which user space opens and containers get."""

import dataclasses

from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class CharacterDevice:
    """A device node: its name below `/dev`, its sysfs directory and the inode of that, its number as `major:minor`."""

    name: str
    path: str
    inode: int
    number: str

    @classmethod
    def at(cls, sysfs: Sysfs, path: str, name: str) -> "CharacterDevice | None":
        """Read a device from its directory in sysfs; None where it does not exist, or not yet."""
        number, resolved = sysfs.read(f"{path}/dev"), sysfs.resolve(path)
        inode = sysfs.inode(path)
        return None if not number or resolved is None or inode is None else cls(name, resolved, inode, number)
