"""What a person is told to do next where a NIC cannot, and that it is of use on that node."""

import errno
from pathlib import Path

from rig.world import World
from subfunction.api.reasons import Reason
from subfunction.errors import BridgeNotFound, SubFunctionError
from subfunction_operator.agent.model.decision import Wait
from subfunction_simulator.kernel import Operation, Parent, Topology
from subfunction_simulator.kernel.network.netdev import Looks
from subfunction_simulator.kernel.network.netdevs import VIRTUAL

E810 = Topology(parents=(Parent(bdf="0000:03:00.0", netdev="ens1f0np0", driver="ice"),))


def test_no_bridge_is_to_be_made_where_open_vswitch_has_an_interface_of_that_name(root: Path) -> None:
    world = World(root)
    with world.kernel.lock:
        world.kernel.hardware.netdevs.add(VIRTUAL, None, Looks(name="br-int", kind="openvswitch"))
    world.apply(representor={"bridge": "br-int"})
    error = world.settle().error
    assert error is not None
    assert "spec.representor.bridge" in error.hint
    assert "ip link add" not in error.hint


def test_where_nothing_has_the_name_a_bridge_is_to_be_made(root: Path) -> None:
    world = World(root)
    world.apply(representor={"bridge": "br0"})
    error = world.settle().error
    assert isinstance(error, BridgeNotFound)
    assert "ip link add br0 type bridge" in error.hint


def test_a_probe_that_fails_for_want_of_vectors_is_told_with_their_setting(root: Path) -> None:
    world = World(root)
    world.kernel.faults.fail_next(Operation.PROBE, errno.ENOSPC, times=50)
    world.apply()
    decision = world.settle().decision
    assert isinstance(decision, Wait)
    assert "NUM_PF_MSIX" in decision.hint


def test_an_e810_at_its_limit_is_full(root: Path) -> None:
    error = refused_by_an_e810(root, errno.ENOMEM, "ice: Unable to allocate VSI")
    assert error.reason is Reason.FULL


def test_an_e810_that_has_no_interrupts_to_deal_out_is_told_with_what_to_do(root: Path) -> None:
    words = "ice: Dynamic MSIX-X interrupt allocation is not supported"
    error = refused_by_an_e810(root, errno.EOPNOTSUPP, words)
    assert error.hint


def refused_by_an_e810(root: Path, number: int, words: str) -> SubFunctionError:
    world = World(root, E810, flavour="ice")
    world.kernel.faults.fail_next(Operation.PORT_NEW, number, words)
    world.apply()
    error = world.settle().error
    assert error is not None
    return error
