"""plan() alone: whatever is seen, what it wants next breaks no promise. Pure, so whole tables of worlds are cheap."""

import dataclasses
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.claims import port_claim
from subfunction.api.subfunction import Metadata, Status, SubFunction
from subfunction.errors import SubFunctionError
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import Function, Port
from subfunction.kernel.rdma import RdmaDevice
from subfunction.kernel.uapi import PortFlavour
from subfunction.state.claims import PortClaim
from subfunction.state.records import Health, Record, State
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision, RefreshUsage, Settled, Steps, Wait
from subfunction_operator.agent.model.number_ranges import NumberRanges
from subfunction_operator.agent.model.observation import Desired, NodePolicy, Observation, Parent, RetryState, Usage
from subfunction_operator.agent.model.steps import (
    Activate,
    CreatePort,
    Deactivate,
    DeletePort,
    Reload,
    RemoveRecord,
    SetFunction,
    SetLink,
    SetParameter,
    StoreRecord,
)
from subfunction_operator.agent.plan.planner import plan

HANDLE = Handle.parse("pci/0000:03:00.0")
OURS, CHANGED, THEIRS = (Mac.parse(f"02:00:00:00:00:0{n}") for n in (1, 2, 9))
UNSET = Mac(bytes(6))
INDEX = 32768
CARD = PciFunction(handle=HANDLE, path="devices/x", driver="mlx5_core", vendor="0x15b3", numa_node=0)
DEVICE = AuxiliaryDevice("mlx5_core.sf.2", "devices/x/mlx5_core.sf.2", 7, "../drivers/mlx5_core.sf")
NETDEV = Netdev("eth1", "devices/x/net/eth1", 5, OURS, 1500, up=True)
REPRESENTOR = Netdev("eth0", "devices/x/net/eth0", 4, THEIRS, 1500, up=False)
VERBS = CharacterDevice("infiniband/uverbs2", "c", 8, "231:194")
RDMA = RdmaDevice("mlx5_2", "devices/x/infiniband/mlx5_2", VERBS, inode=9, gids=0)
RDMA_WITH_ROCE = dataclasses.replace(RDMA, gids=64)

macs = st.sampled_from([OURS, CHANGED, THEIRS, UNSET])
functions = st.none() | st.builds(
    Function,
    mac=st.none() | macs,
    active=st.booleans(),
    attached=st.booleans(),
    roce=st.sampled_from([None, True, False]),
    max_io_eqs=st.sampled_from([None, 4, 8]),
)
ports = st.none() | st.builds(
    Port,
    handle=st.just(HANDLE),
    index=st.sampled_from([INDEX, INDEX + 1]),
    flavour=st.just(PortFlavour.PCI_SF),
    pf=st.just(0),
    number=st.just(1),
    ifindex=st.sampled_from([None, 4, 5]),
    function=functions,
)
records = st.none() | st.builds(
    Record,
    uid=st.just("uid"),
    name=st.just("blue"),
    boot_id=st.sampled_from(["now", "before"]),
    state=st.sampled_from(State),
    claim=st.builds(
        PortClaim,
        flavour=st.just("mlx5"),
        parent=st.just(str(HANDLE)),
        pf=st.just(0),
        number=st.just(1),
        port_index=st.sampled_from([None, INDEX]),
        representor=st.sampled_from([None, 4]),
        refused=st.booleans(),
        mac_address=st.sampled_from([str(OURS), str(CHANGED)]),
    ),
    resource=st.just("subfunction.dev/mlx5"),
    device_id=st.sampled_from(["", DEVICE.name]),
    health=st.builds(Health, healthy=st.booleans()),
)
observations = st.builds(
    Observation,
    boot_id=st.just("now"),
    parent=st.none()
    | st.builds(
        Parent,
        function=st.sampled_from([CARD, PciFunction(HANDLE, "devices/x", None, None, None)]),
        pfs=st.sampled_from([(), (0,), (1, 0)]),
        legacy=st.booleans(),
        absent=st.booleans(),
        taken=st.sampled_from([frozenset[int](), frozenset({1, 2}), frozenset(range(1, 5))]),
        recorded=st.sampled_from([dict[int, str](), {1: "other"}]),
    ),
    record=records,
    port=ports,
    auxiliary=st.none() | st.just(DEVICE) | st.just(AuxiliaryDevice("mlx5_core.sf.2", "d", 7, None)),
    parameters=st.sampled_from([(), (("enable_eth", True), ("enable_rdma", True)), (("enable_rdma", False),)]),
    netdev=st.none() | st.just(NETDEV),
    netdev_away=st.booleans(),
    rdma=st.none() | st.sampled_from([RDMA, RDMA_WITH_ROCE, dataclasses.replace(RDMA, gids=None, away=True)]),
    rdma_exclusive=st.booleans(),
    made=st.booleans(),
    unlisted=st.booleans(),
    waits_for=st.sampled_from(["", "sub-function 7"]),
    representor=st.none() | st.just(REPRESENTOR),
    usage=st.builds(Usage, in_use=st.booleans(), why=st.just("a pod"), refreshed=st.booleans()),
)
specs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"flavour": st.sampled_from(["mlx5", "mlx5", "mlx5", "ice"])},
    optional={
        "number": st.sampled_from([1, 3]),
        "macAddress": st.sampled_from([str(OURS), str(CHANGED)]),
        "capabilities": st.sampled_from([{"roce": False}, {"maxIOEventQueues": 4}, {"migratable": True}]),
        "mlx5": st.sampled_from([{"rdma": False}, {"ethernet": False}]),
        "deletionPolicy": st.sampled_from(["Drain", "Force", "Retain"]),
        "mtu": st.just(9000),
    },
)
statuses = st.builds(
    Status,
    parent=st.just(str(HANDLE)),
    number=st.just(1),
    mac_address=st.none() | st.just(str(OURS)),
) | st.just(Status())
memories = st.builds(
    RetryState, reloaded=st.booleans(), probed=st.booleans(), waited=st.floats(0, 60), overdue=st.booleans()
)
POLICY = NodePolicy(NumberRanges(range(1, 5)))


@st.composite
def wishes(draw: st.DrawFn) -> Desired:
    if draw(st.integers(0, 5)) == 0:
        return Desired("uid", "blue", OURS, None, deleting=True)
    spec = {"nodeName": "n", "parent": {"device": str(HANDLE)}, "macAddress": str(OURS), **draw(specs)}
    metadata = Metadata(name="blue", uid="uid", deletion_timestamp=draw(st.sampled_from([None, None, "now"])))
    body = {"metadata": {"name": "blue", "uid": "uid"}, "spec": spec}
    made = msgspec.structs.replace(SubFunction.of(body), metadata=metadata, status=draw(statuses))
    return Desired.of(made)


def decided(desired: Desired, seen: Observation, memory: RetryState) -> Decision | None:
    """Plan; None where it is refused, which must be by a typed error."""
    try:
        return plan(PlanContext(desired=desired, seen=seen, policy=POLICY, memory=memory))
    except SubFunctionError:
        return None


def steps(decision: Decision | None) -> list[Any]:
    return list(decision.steps) if isinstance(decision, Steps) else []


def the_same_sight_is_always_answered_the_same(desired: Desired, seen: Observation, memory: RetryState) -> None:
    decision = decided(desired, seen, memory)
    assert decision == decided(desired, seen, memory)
    assert decision is None or isinstance(decision, Steps | Wait | Settled | RefreshUsage)
    assert not isinstance(decision, Steps) or decision.steps


def what_a_pod_may_have_is_not_touched_unless_by_force(desired: Desired, seen: Observation, memory: RetryState) -> None:
    force = desired.object is not None and desired.object.spec.deletion_policy == "Force" and desired.deleting
    function = seen.port.function if seen.port else None
    running = function is not None and function.active
    if force or not running or not (seen.usage.in_use or seen.netdev_away or seen.rdma_away):
        return
    taken = steps(decided(desired, seen, memory))
    assert not [
        each for each in taken if isinstance(each, Deactivate | DeletePort | Reload | SetParameter | SetFunction)
    ]


def a_running_function_is_touched_only_out_of_the_offer_and_after_the_kubelet_was_asked(
    desired: Desired, seen: Observation, memory: RetryState
) -> None:
    taken = steps(decided(desired, seen, memory))
    if [each for each in taken if isinstance(each, Deactivate | Reload)]:
        assert seen.record is not None
        assert seen.record.state is not State.READY
        assert seen.usage.refreshed or desired.deleting


def settings_go_to_inactive_functions_alone(desired: Desired, seen: Observation, memory: RetryState) -> None:
    taken = steps(decided(desired, seen, memory))
    if [each for each in taken if isinstance(each, SetFunction | Activate)]:
        assert seen.port is not None
        assert seen.port.function is not None
        assert not seen.port.function.active


def no_port_is_made_that_no_record_announces(desired: Desired, seen: Observation, memory: RetryState) -> None:
    announced = seen.claim if seen.this_boot else None
    for each in steps(decided(desired, seen, memory)):
        if isinstance(each, StoreRecord):
            announced = port_claim(each.record)
        elif isinstance(each, CreatePort):
            assert announced is not None
            assert (each.parent, each.number) == (Handle.parse(announced.parent), announced.number)
            assert (announced.port_index, announced.refused) == (None, False)
            assert each.pfs
            assert seen.port is None
            assert not desired.deleting


def a_port_of_somebody_else_is_left_alone(desired: Desired, seen: Observation, memory: RetryState) -> None:
    port, record = seen.port, seen.record
    if port is None or port.function is None or port.function.mac != THEIRS:
        return
    if seen.made:
        return
    if record is not None and record.boot_id == seen.boot_id and port_claim(record).port_index == port.index:
        recorded = port_claim(record).representor
        same_device = seen.auxiliary is not None and record.witness.inodes.get(seen.auxiliary.path) is not None
        if recorded is None or port.ifindex in {None, recorded} or same_device:
            return
    touches = Activate | Deactivate | DeletePort | SetFunction | SetParameter | Reload | SetLink
    taken = steps(decided(desired, seen, memory))
    assert not [each for each in taken if isinstance(each, touches)]
    assert not [
        each for each in taken if isinstance(each, StoreRecord) and port_claim(each.record).port_index == port.index
    ]


def a_published_number_is_never_another_one(desired: Desired, seen: Observation, memory: RetryState) -> None:
    if desired.status_number is None or desired.deleting:
        return
    for each in steps(decided(desired, seen, memory)):
        if isinstance(each, StoreRecord) and (desired.object is None or desired.object.spec.number in {None, 1}):
            assert port_claim(each.record).number == 1


def a_record_goes_only_when_nothing_of_ours_is_left_or_all_of_it_is_to_stay(
    desired: Desired, seen: Observation, memory: RetryState
) -> None:
    taken = steps(decided(desired, seen, memory))
    if [each for each in taken if isinstance(each, RemoveRecord)]:
        assert desired.deleting
        retained = desired.object is not None and desired.object.spec.deletion_policy == "Retain"
        record = seen.record
        assert record is not None
        ours = seen.port is not None and record.boot_id == "now" and port_claim(record).port_index == seen.port.index
        assert retained or not ours or (seen.port is not None and seen.port.function is None)


PROMISES = (
    the_same_sight_is_always_answered_the_same,
    what_a_pod_may_have_is_not_touched_unless_by_force,
    a_running_function_is_touched_only_out_of_the_offer_and_after_the_kubelet_was_asked,
    settings_go_to_inactive_functions_alone,
    no_port_is_made_that_no_record_announces,
    a_port_of_somebody_else_is_left_alone,
    a_published_number_is_never_another_one,
    a_record_goes_only_when_nothing_of_ours_is_left_or_all_of_it_is_to_stay,
)


# One drawing of a world for all of them: to draw it is most of the cost.
@settings(max_examples=150)
@given(wishes(), observations, memories)
def test_whatever_is_seen_the_next_steps_break_no_promise(
    desired: Desired, seen: Observation, memory: RetryState
) -> None:
    for promise in PROMISES:
        promise(desired, seen, memory)
