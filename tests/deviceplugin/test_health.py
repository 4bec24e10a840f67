"""Which devices are listed, and which of them Healthy: the pure part."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from subfunction.api.reasons import Reason
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.state.claims import PortClaim
from subfunction.state.ledger import LedgerEntry
from subfunction.state.records import DeviceNode, Health, Record, State, Witness
from subfunction_deviceplugin.health import Allocations, Device, check_replay, check_start, list_devices

BOOT = "this-boot"
RESOURCE = "subfunction.dev/mlx5"
CLAIM = PortClaim(flavour="mlx5", parent="pci/0000:05:00.0", pf=0, number=4, mac_address="02:00:00:00:00:01")


def record(name: str = "a", device_id: str = "sf.4", **changes: Any) -> Record:
    whole = Record(
        uid=f"uid-{name}",
        name=name,
        boot_id=BOOT,
        state=State.READY,
        claim=CLAIM,
        resource=RESOURCE,
        device_id=device_id,
        health=Health(healthy=True),
        witness=Witness(inodes={"devices/x": 1}),
    )
    return msgspec.structs.replace(whole, **changes)


def held(device_id: str, uid: str | None, *, resource: str = RESOURCE) -> DeviceAllocation:
    return DeviceAllocation("pod-1", "app", resource, device_id, uid)


def entry(device_id: str, uid: str, *, resource: str = RESOURCE) -> LedgerEntry:
    return LedgerEntry(uid=uid, resource=resource, device_id=device_id, at=0.0)


def listed(
    *records: Record,
    mismatches: dict[str, str] | None = None,
    entries: Sequence[LedgerEntry] = (),
    holdings: Sequence[DeviceAllocation] | None = (),
    resources: Sequence[str] = (RESOURCE,),
) -> dict[str, tuple[Device, ...]]:
    return list_devices(
        {each.uid: each for each in records},
        mismatches or {},
        Allocations.of(entries, holdings),
        boot=BOOT,
        resources=resources,
    )


def only(lists: dict[str, tuple[Device, ...]]) -> Device:
    [device] = lists[RESOURCE]
    return device


def reason(device: Device) -> Reason | None:
    return None if device.fault is None else device.fault.reason


def test_a_ready_healthy_witnessed_device_is_healthy() -> None:
    assert only(listed(record(numa_node=1))) == Device("sf.4", "uid-a", numa_node=1, fault=None)


def test_a_resource_without_devices_is_listed_empty() -> None:
    assert listed(resources=("subfunction.dev/virtio",)) == {"subfunction.dev/virtio": ()}


LAPSED = record("a", "", state=State.PREPARING, health=Health(message="its device went away"))


@pytest.mark.parametrize("known", [True, False], ids=["checkpoint", "ledger"])
def test_a_held_device_that_went_away_is_listed_with_what_its_record_says(*, known: bool) -> None:
    lists = listed(LAPSED, entries=[entry("sf.4", "uid-a")], holdings=[held("sf.4", "uid-a")] if known else [])
    fault = only(lists).fault
    assert fault is not None
    assert (fault.reason, fault.message) == (Reason.NOT_READY, "sf.4 (a): its device went away")


def test_a_held_device_that_is_another_one_by_now_is_listed_as_stale() -> None:
    former, now = listed(record("a", "sf.7"), holdings=[held("sf.4", "uid-a")])[RESOURCE]
    assert former.fault is not None
    assert (former.fault.reason, now.device_id) == (Reason.STALE_ALLOCATION, "sf.7")
    assert "sf.4 (a) was made anew as sf.7" in former.fault.message


def test_a_device_made_anew_under_a_pod_says_so_as_its_object_does() -> None:
    sick = record(remade=True, health=Health(reason=Reason.STALE_ALLOCATION, message="its devices were made anew"))
    fault = only(listed(sick, holdings=[held("sf.4", "uid-a")])).fault
    assert fault is not None
    assert (fault.reason, fault.message) == (Reason.STALE_ALLOCATION, "sf.4 (a): its devices were made anew")


def test_a_device_that_is_not_on_its_bus_yet_is_not_listed() -> None:
    assert listed(record(device_id="", state=State.PREPARING)) == {RESOURCE: ()}


def test_devices_are_sorted_by_id_whatever_order_they_were_read_in() -> None:
    lists = listed(record("a", "sf.7"), record("b", "sf.4"), record("c", "sf.5"))
    assert [device.device_id for device in lists[RESOURCE]] == ["sf.4", "sf.5", "sf.7"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": State.PREPARING}, Reason.PENDING),
        ({"state": State.DRAINING}, Reason.DRAINING),
        ({"state": State.RETURNING}, Reason.RETURNING),
        ({"health": Health(healthy=False, message="link is down")}, Reason.NOT_READY),
        ({"boot_id": "another"}, Reason.NOT_READY),
        ({"witness": Witness()}, Reason.NOT_READY),
    ],
)
def test_a_device_that_may_not_be_handed_out_is_listed_unhealthy(changes: dict[str, Any], expected: Reason) -> None:
    assert reason(only(listed(record(**changes)))) is expected


def test_the_agents_own_words_say_why_a_device_is_unhealthy() -> None:
    fault = only(listed(record(health=Health(healthy=False, message="link is down")))).fault
    assert fault is not None
    assert "link is down" in fault.message


def test_a_device_whose_witness_does_not_hold_is_unhealthy() -> None:
    device = only(listed(record(), mismatches={"uid-a": "devices/x is gone"}))
    assert reason(device) is Reason.NOT_READY


def test_a_held_device_is_never_dropped_even_if_its_record_is_gone() -> None:
    for lists in (listed(entries=[entry("sf.4", "uid-a")]), listed(holdings=[held("sf.4", "uid-a")])):
        assert (only(lists).device_id, reason(only(lists))) == ("sf.4", Reason.UNKNOWN_DEVICE)


def test_what_other_plugins_gave_out_is_not_listed_as_ours() -> None:
    assert listed(holdings=[held("gpu-1", None, resource="nvidia.com/gpu")]) == {RESOURCE: ()}


def test_a_device_held_by_its_own_promise_stays_healthy() -> None:
    assert reason(only(listed(record(), entries=[entry("sf.4", "uid-a")], holdings=[held("sf.4", "uid-a")]))) is None


@pytest.mark.parametrize("promised", ["uid-z", None])
def test_an_id_that_a_pod_holds_as_another_sub_function_is_taken(promised: str | None) -> None:
    assert reason(only(listed(record(), holdings=[held("sf.4", promised)]))) is Reason.ID_TAKEN


def test_an_id_that_a_pod_holds_under_another_plugins_resource_is_taken() -> None:
    assert reason(only(listed(record(), holdings=[held("sf.4", None, resource="nvidia.com/sf")]))) is Reason.ID_TAKEN


def test_a_sub_function_that_a_pod_holds_under_its_former_id_is_taken() -> None:
    former, now = listed(record(device_id="sf.7"), entries=[entry("sf.4", "uid-a")])[RESOURCE]
    assert (former.device_id, reason(former)) == ("sf.4", Reason.STALE_ALLOCATION)
    assert (now.device_id, reason(now)) == ("sf.7", Reason.ID_TAKEN)


def test_while_the_checkpoint_cannot_be_read_only_what_the_ledger_promised_is_known_to_be_its_own() -> None:
    known, unknown = listed(record("a", "sf.4"), record("b", "sf.5"), entries=[entry("sf.4", "uid-a")], holdings=None)[
        RESOURCE
    ]
    assert (known.fault, reason(unknown)) == (None, Reason.ID_TAKEN)
    assert unknown.fault is not None
    assert "is unknown" in unknown.fault.message


def test_two_records_that_claim_one_id_leave_it_unhealthy() -> None:
    assert reason(only(listed(record("a"), record("b")))) is Reason.ID_TAKEN


def test_a_record_of_another_boot_gives_way_to_this_boots() -> None:
    device = only(listed(record("a", boot_id="another"), record("b")))
    assert (device.uid, device.fault) == ("uid-b", None)


def test_a_container_starts_with_the_device_it_was_promised_even_while_that_is_drained() -> None:
    allocations = Allocations.of([entry("sf.4", "uid-a")], [])
    assert check_start("sf.4", record(state=State.DRAINING), None, allocations, boot=BOOT) is None


@pytest.mark.parametrize(
    ("lent", "netdev", "starts"),
    [(False, "eth4", True), (True, "", True), (True, "eth4", False)],
    ids=["its netdev is here", "a CNI plugin moved it", "a container runtime moved it"],
)
def test_a_container_does_not_start_again_once_the_runtime_has_moved_its_netdev(
    *, lent: bool, netdev: str, starts: bool
) -> None:
    allocations = Allocations.of([entry("sf.4", "uid-a")], [])
    fault = check_start("sf.4", record(lent=lent, cdi_netdev=netdev), None, allocations, boot=BOOT)
    assert (fault is None) is starts
    assert fault is None or ("eth4" in fault.message and "Delete the pod" in fault.hint)


@pytest.mark.parametrize(
    ("found", "mismatch", "entries", "holdings"),
    [
        (None, None, [entry("sf.4", "uid-a")], []),
        (record(), None, [], []),
        (record(), None, [entry("sf.4", "uid-z")], []),
        (record(), None, [], [held("sf.4", "uid-z")]),
        (record(), None, [], [held("sf.4", None)]),
        (record(), None, [entry("sf.4", "uid-a")], [held("sf.4", "uid-z")]),
        (record(), "devices/x is gone", [entry("sf.4", "uid-a")], []),
        (record(boot_id="another"), None, [entry("sf.4", "uid-a")], []),
        (record(witness=Witness()), None, [entry("sf.4", "uid-a")], []),
        (record(remade=True), None, [entry("sf.4", "uid-a")], [held("sf.4", "uid-a")]),
    ],
    ids=[
        "record gone",
        "nothing promised",
        "promised as another",
        "checkpoint has another",
        "promise unreadable",
        "the two disagree",
        "witness broken",
        "not verified since the boot",
        "no witness",
        "made anew",
    ],
)
def test_a_container_does_not_start_on_a_device_that_is_not_its_own(
    found: Record | None, mismatch: str | None, entries: list[LedgerEntry], holdings: list[DeviceAllocation]
) -> None:
    fault = check_start("sf.4", found, mismatch, Allocations.of(entries, holdings), boot=BOOT)
    assert fault is not None
    assert fault.reason is Reason.STALE_ALLOCATION
    assert fault.hint


UVERBS3, UVERBS5 = (
    DeviceNode(container_path=f"/dev/infiniband/uverbs{n}", host_path=f"/dev/infiniband/uverbs{n}") for n in (3, 5)
)


def replayed(*nodes: DeviceNode, ids: Sequence[str] = ("sf.4",), container: str = "app") -> list[DeviceAllocation]:
    """What the checkpoint says of a container that holds the ids, answered with the nodes."""
    paths = frozenset(node.host_path for node in nodes)
    return [DeviceAllocation("pod-1", container, RESOURCE, device_id, "uid", paths) for device_id in ids]


ONE, OTHER = record("a", "sf.4", nodes=(UVERBS3,)), record("b", "sf.5", nodes=(UVERBS5,))
NAME = "subfunction.dev/sf=uid-1"
BY_CDI = record("a", "sf.4", cdi_name=NAME, cdi_nodes=(UVERBS3,))


def replayed_by_cdi(*names: str) -> list[DeviceAllocation]:
    """What the checkpoint says of a container that was answered with CDI names alone."""
    return [DeviceAllocation("pod-1", "app", RESOURCE, "sf.4", "uid", cdi_names=frozenset(names))]


@pytest.mark.parametrize(
    ("records", "holdings"),
    [
        ([record()], replayed()),
        ([ONE], replayed(UVERBS3)),
        ([ONE, OTHER], replayed(UVERBS5, UVERBS3, ids=("sf.4", "sf.5"))),
        ([ONE], [*replayed(UVERBS3), *replayed(UVERBS3, UVERBS5, ids=("sf.4", "sf.5"), container="init")]),
        ([ONE], [*replayed(UVERBS3), DeviceAllocation("pod-2", "app", "nvidia.com/gpu", "sf.4", None)]),
        ([BY_CDI], replayed_by_cdi(NAME)),
    ],
    ids=["no node", "one device", "two devices", "an init container had one more", "another plugin's", "by CDI"],
)
def test_a_container_starts_when_its_replayed_answer_opens_its_own_devices(
    records: list[Record], holdings: list[DeviceAllocation]
) -> None:
    assert check_replay(RESOURCE, records, holdings) is None


@pytest.mark.parametrize(
    ("records", "holdings", "words"),
    [
        ([ONE], replayed(UVERBS5), "uverbs5.*uverbs3"),
        ([ONE], replayed(UVERBS3, UVERBS5), "uverbs5.*uverbs3"),
        ([ONE], replayed(), "nothing.*uverbs3"),
        ([record()], replayed(UVERBS3), "uverbs3.*nothing"),
        ([ONE, OTHER], replayed(UVERBS3, ids=("sf.4", "sf.5")), "uverbs3"),
        ([ONE], [*replayed(UVERBS3), *replayed(UVERBS5, container="init")], "uverbs5"),
        ([ONE], [], "does not say"),
        ([ONE], replayed(UVERBS3, UVERBS5, ids=("sf.4", "sf.5")), "does not say"),
        ([BY_CDI], replayed_by_cdi("subfunction.dev/sf=uid-2"), "sf=uid-2.*sf=uid-1"),
        ([BY_CDI], replayed(UVERBS3), "uverbs3.*sf=uid-1"),
        ([ONE], replayed_by_cdi(NAME), "sf=uid-1.*uverbs3"),
    ],
    ids=[
        "another's",
        "another's as well",
        "node came",
        "node went",
        "one missing",
        "one of two containers",
        "no answer",
        "an answer for more devices only",
        "other nodes by CDI",
        "by CDI now",
        "no longer by CDI",
    ],
)
def test_a_container_does_not_start_when_its_replayed_answer_opens_another_device(
    records: list[Record], holdings: list[DeviceAllocation], words: str
) -> None:
    fault = check_replay(RESOURCE, records, holdings)
    assert fault is not None
    assert fault.reason is Reason.STALE_ALLOCATION
    assert re.search(words, fault.message), fault.message
    assert fault.hint
