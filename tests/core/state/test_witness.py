"""A device that a pod may have in its own network namespace is known by its inode, wherever it is."""

import pytest

from subfunction.state.records import Witness, find_mismatch

FOLDER = "sf/infiniband"
WITNESS = Witness(movable={FOLDER: 7})


class OneFolder:
    """A sysfs with one folder, in which are devices with these inodes."""

    def __init__(self, inodes: dict[str, int]) -> None:
        self.paths = {f"{FOLDER}/{name}": inode for name, inode in inodes.items()}

    def names(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(each.rpartition("/")[2] for each in self.paths if each.startswith(f"{path}/")))

    def inode(self, path: str) -> int | None:
        return self.paths.get(path)

    def target(self, path: str) -> str | None:
        raise AssertionError(path)

    def read(self, path: str) -> str | None:
        raise AssertionError(path)


@pytest.mark.parametrize("seen", [{"mlx5_2": 7}, {"rocep3s0f0": 7}, {}], ids=["there", "renamed", "away"])
def test_a_movable_device_may_be_away_or_have_another_name(seen: dict[str, int]) -> None:
    assert find_mismatch(WITNESS, OneFolder(seen)) is None


def test_another_device_in_the_place_of_a_movable_one_is_named() -> None:
    assert find_mismatch(WITNESS, OneFolder({"mlx5_2": 8})) == f"{FOLDER} has another device than the one recorded"
