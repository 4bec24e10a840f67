"""What a port may send: in bytes a second, in multiples of what the driver counts in."""

import pytest
from tests.contract.node import Node

from subfunction.errors import Gone, Invalid
from subfunction.kernel.devlink import RateLeaf

pytestmark = pytest.mark.needs("mlx5")
MEGABIT = 125_000


def test_a_new_port_is_not_limited(node: Node) -> None:
    port = node.new(88)
    assert node.devlink.rate(port.handle, port.index) == RateLeaf(0, 0)


def test_share_and_maximum_are_set_together_or_apart_and_lifted(node: Node) -> None:
    port = node.new(88)

    def after(**limits: int) -> RateLeaf | None:
        node.devlink.set_rate(port.handle, port.index, **limits)
        return node.devlink.rate(port.handle, port.index)

    assert after(share=8 * MEGABIT, maximum=100 * MEGABIT) == RateLeaf(8 * MEGABIT, 100 * MEGABIT)
    assert after(maximum=200 * MEGABIT) == RateLeaf(8 * MEGABIT, 200 * MEGABIT)
    assert after(share=0) == RateLeaf(0, 200 * MEGABIT)
    assert after(maximum=0) == RateLeaf(0, 0)


def test_a_rate_outlives_deactivation(node: Node) -> None:
    port = node.new(88)
    node.devlink.set_rate(port.handle, port.index, maximum=100 * MEGABIT)
    node.attach(port)
    node.detach(port)
    assert node.devlink.rate(port.handle, port.index) == RateLeaf(0, 100 * MEGABIT)


@pytest.mark.parametrize("limits", [{"share": MEGABIT + 1}, {"maximum": 1}])
def test_a_rate_between_two_megabits_is_refused(node: Node, limits: dict[str, int]) -> None:
    port = node.new(88)
    with pytest.raises(Invalid, match="TX rate value not in link speed units of 1Mbps") as refused:
        node.devlink.set_rate(port.handle, port.index, **limits)
    assert "125000 bytes/s" in refused.value.hint
    assert node.devlink.rate(port.handle, port.index) == RateLeaf(0, 0)


def test_what_has_no_limit_says_so(node: Node) -> None:
    physical = node.physical(node.parent)
    assert node.devlink.rate(physical.handle, physical.index) is None
    with pytest.raises(Gone):
        node.devlink.set_rate(physical.handle, physical.index, maximum=MEGABIT)


def test_the_rate_of_a_deleted_port_is_gone_with_it(node: Node) -> None:
    port = node.new(88)
    node.devlink.delete_port(port.handle, port.index)
    assert node.devlink.rate(port.handle, port.index) is None
    with pytest.raises(Gone, match="devlink port function rate set"):
        node.devlink.set_rate(port.handle, port.index, maximum=MEGABIT)
    again = node.new(88)
    assert node.devlink.rate(again.handle, again.index) == RateLeaf(0, 0)
