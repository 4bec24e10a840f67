"""Which pfnum a port add names: that of the physical port on Linux up to 7.1, that of the PCI function later."""

from pathlib import Path

import pytest

from rig.claims import port_claim
from rig.verdicts import assert_ready
from rig.world import PARENT, World, derived
from subfunction.errors import PfNumberRefused
from subfunction_operator.agent.model.steps import CreatePort
from subfunction_simulator.kernel import Operation, Parent, Topology


@pytest.mark.parametrize(
    ("card", "kernel", "shown"),
    [
        ({}, {}, 0),
        ({}, {"pfnum_is_function": True}, 0),
        ({"port_number": 1}, {}, 1),
        ({"port_number": 1}, {"pfnum_is_function": True}, 0),
        ({"ethernet": False}, {}, 0),
        ({"port_number": 1, "ethernet": False}, {}, 1),
        ({"port_number": 1, "ethernet": False}, {"pfnum_is_function": True}, 0),
        ({"driver": "ice"}, {}, 0),
    ],
    ids=[
        "Linux 6.12",
        "Linux 7.3",
        "Linux 6.12, port and function differ",
        "Linux 7.3, port and function differ",
        "Linux 6.12, enable_eth off",
        "Linux 6.12, enable_eth off, port and function differ",
        "Linux 7.3, enable_eth off, port and function differ",
        "ice",
    ],
)
def test_a_sub_function_is_made_whichever_number_the_kernel_wants(
    root: Path, card: dict[str, object], kernel: dict[str, bool], shown: int
) -> None:
    parent = Parent(bdf=PARENT.device, netdev="enp3s0np0", **card)  # type: ignore[arg-type]
    world = World(root, Topology(parents=(parent,), **kernel), flavour=str(card.get("driver", "mlx5")))  # type: ignore[arg-type]
    world.apply()
    assert_ready(world, world.settle(), 1, derived())
    assert port_claim(world.record()).pf == shown
    # What a made port shows is believed: the next is asked for with that number alone.
    world.apply("green")
    assert_ready(world, world.settle("green"), 2, derived("green"), "green")
    assert [step.pfs for step in world.seam.steps if isinstance(step, CreatePort)][1:] == [(shown,)]


def test_where_no_number_is_taken_the_refusal_names_both_rules_and_nothing_is_left(root: Path) -> None:
    world = World(root, Topology(parents=(Parent(bdf=PARENT.device, netdev="enp3s0np0"),)))
    world.apply()
    world.kernel.faults.fail_next(Operation.PORT_NEW, 95, "mlx5_core: Invalid pfnum supplied.")
    error = world.settle().error
    assert isinstance(error, PfNumberRefused)
    assert "Invalid pfnum supplied" in str(error)
    assert "`lspci`" in error.hint
    assert error.retry_after is not None
    assert world.records.read("uid-blue") is None
