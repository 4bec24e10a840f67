"""A character device: what user space opens, and what a container is given."""

import dataclasses

from subfunction.kernel.sysfs import Sysfs


@dataclasses.dataclass(frozen=True, slots=True)
class CharacterDevice:
    """A device node: its name below `/dev`, its directory in sysfs with its inode, its number as `major:minor`."""

    name: str
    path: str
    inode: int
    number: str

    @classmethod
    def at(cls, sysfs: Sysfs, path: str, name: str) -> "CharacterDevice | None":
        """Look at a class device's directory; None where it is not, or not yet, there."""
        number, resolved = sysfs.read(f"{path}/dev"), sysfs.resolve(path)
        inode = sysfs.inode(path)
        return None if not number or resolved is None or inode is None else cls(name, resolved, inode, number)
