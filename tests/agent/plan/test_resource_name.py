"""One resource name, one flavour on a node."""

import pytest

from rig.world import metadata
from subfunction.api.subfunction import Flavour, ParentSpec, Spec, Status, SubFunction
from subfunction.errors import ResourceNameConflict
from subfunction_operator.agent.plan.resource_name import require_resource_name

NAME = "example.com/nic"


def made(name: str, flavour: Flavour, *, placed: bool = False) -> SubFunction:
    spec = Spec(flavour=flavour, parent=ParentSpec(device="pci/0000:03:00.0"), resource_name=NAME)
    return SubFunction(
        metadata=metadata(name), spec=spec, status=Status(parent="pci/0000:03:00.0") if placed else Status()
    )


def refused(wanted: SubFunction, *others: SubFunction) -> bool:
    try:
        require_resource_name(wanted, [wanted, *others])
    except ResourceNameConflict:
        return True
    return False


def test_the_flavour_that_has_it_keeps_it_whatever_the_names_are() -> None:
    old, new = made("zebra", Flavour.MLX5, placed=True), made("aardvark", Flavour.VIRTIO)
    assert refused(new, old)
    assert not refused(old, new)


def test_of_two_that_come_together_one_wins_and_always_the_same() -> None:
    one, other = made("a", Flavour.MLX5), made("b", Flavour.VIRTIO)
    assert [refused(one, other), refused(other, one)] == [False, True]


def test_one_that_lost_takes_the_name_from_nobody() -> None:
    winner, loser = made("first", Flavour.MLX5, placed=True), made("another", Flavour.VIRTIO)
    latecomer = made("third", Flavour.MLX5)
    assert refused(loser, winner, latecomer)
    assert not refused(latecomer, winner, loser)


@pytest.mark.parametrize("flavour", list(Flavour))
def test_many_of_one_flavour_share_it(flavour: Flavour) -> None:
    assert not refused(made("a", flavour), made("b", flavour, placed=True))
