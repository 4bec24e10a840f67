"""An IOMMU group holds the devices that the hardware cannot keep apart."""

from subfunction_simulator.kernel.driver_core.nodes import lowest_free
from subfunction_simulator.kernel.driver_core.tree import Tree

_GROUPS = "kernel/iommu_groups"


class IommuGroups:
    """Each group has a number, and the names and paths of its devices."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._members: dict[int, list[str]] = {}
        tree.directory(_GROUPS)

    def join(self, path: str, group: int | None = None, *, name: str | None = None) -> int:
        """Put a device in a group, or in one of its own; emulated groups have a name."""
        number = lowest_free(set(self._members)) if group is None else group
        if number not in self._members:
            self._members[number] = []
            self._tree.directory(f"{_GROUPS}/{number}", {"name": name} if name else {"type": "DMA"})
        self._members[number].append(path)
        self._tree.link(f"{_GROUPS}/{number}/devices/{path.rpartition('/')[2]}", path)
        self._tree.link(f"{path}/iommu_group", f"{_GROUPS}/{number}")
        return number

    def leave(self, path: str, number: int) -> None:
        """Take a device out of its group; an empty one ends."""
        self._members[number].remove(path)
        self._tree.unlink(f"{path}/iommu_group")
        self._tree.unlink(f"{_GROUPS}/{number}/devices/{path.rpartition('/')[2]}")
        if not self._members[number]:
            del self._members[number]
            self._tree.bury(f"{_GROUPS}/{number}")

    def group_of(self, path: str) -> int | None:
        """Give the number of a device's group."""
        return next((number for number, paths in self._members.items() if path in paths), None)
