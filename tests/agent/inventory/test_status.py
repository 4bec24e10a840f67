"""What a survey makes of a node's object: which flavours are possible, what is missing, and that rest is silence."""

import dataclasses

import msgspec
import pytest

from subfunction.api import node
from subfunction.api.conditions import Condition, ConditionType
from subfunction.api.node import (
    FlavourCapability,
    ForeignSubFunction,
    NodeStatus,
    OfferedFunction,
    OfferedType,
    RdmaNamespaces,
    SubFunctionNode,
)
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction.errors import FamilyMissing, KernelBusy
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.error_table import fatal_error
from subfunction.kernel.port import Port
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, DiscoveredParent
from subfunction_operator.agent.inventory.status import NodeFacts, build_node_status, build_unseen_status

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ABOUT = NodeFacts("0.1.0", "6.12.57-amd64")
NOTHING = NodeStatus()
ALL_DRIVERS = frozenset({"mlx5_core", "vfio-pci", "vhost_vdpa", "virtio_vdpa"})
VF = OfferedFunction(index=0, address="0000:03:00.2", driver="mlx5_core", group=42)


def card(device: str = "0000:03:00.0", *, driver: str | None = "mlx5_core", vendor: str = "0x15b3") -> DiscoveredParent:
    handle = Handle("pci", device)
    return DiscoveredParent(
        PciFunction(handle, f"devices/{device}", driver, vendor, 1),
        EswitchMode.SWITCHDEV,
        capacity=128,
        uplink=Port(handle, 65535, PortFlavour.PHYSICAL, netdev="enp3s0np0", port_number=0),
        virtual_functions=(VF,),
    )


def with_parent(parent: DiscoveredParent, drivers: frozenset[str] = ALL_DRIVERS) -> DiscoveredNode:
    return DiscoveredNode((parent,), drivers)


def told(survey: DiscoveredNode, old: NodeStatus = NOTHING, now: str = NOW) -> NodeStatus:
    return build_node_status(survey, ABOUT, old, now)


def ready(status: NodeStatus) -> Condition:
    condition = status.condition(ConditionType.READY)
    assert condition is not None
    return condition


def judged(survey: DiscoveredNode, flavour: Flavour) -> FlavourCapability:
    (parent,) = told(survey).parents
    return next(each for each in parent.flavours if each.name is flavour)


CARD = card()
SILENT = dataclasses.replace(CARD, virtual_functions=())
OFFER = OfferedType(id="local", api="vfio-pci", capacity=0)


def test_a_whole_card_says_all_that_placement_asks() -> None:
    status = told(DiscoveredNode((CARD,), ALL_DRIVERS, RdmaNamespaces.SHARED))
    assert (status.kernel, status.agent_version) == ("6.12.57-amd64", "0.1.0")
    assert (status.parent_count, status.capacity, status.rdma_namespaces) == (1, 128, "shared")
    assert status.drivers == ("mlx5_core", "vfio-pci", "vhost_vdpa", "virtio_vdpa")
    assert status.flavours == (Flavour.MLX5, Flavour.VIRTIO, Flavour.VFIO)
    (parent,) = status.parents
    assert (parent.device, parent.netdev, parent.driver) == ("pci/0000:03:00.0", "enp3s0np0", "mlx5_core")
    assert (parent.vendor, parent.numa_node, parent.eswitch_mode) == ("15b3", 1, "switchdev")
    assert (parent.pf, parent.capacity, parent.virtual_functions) == (0, 128, (VF,))
    assert (ready(status).status, ready(status).reason) == ("True", "Ready")


@pytest.mark.parametrize(
    ("survey", "flavour", "reason", "words"),
    [
        (with_parent(CARD), Flavour.ICE, Reason.UNSUPPORTED, "needs a parent on ice; this one is on mlx5_core"),
        (with_parent(card(driver=None)), Flavour.MLX5, Reason.UNSUPPORTED, "this one is on no driver"),
        (
            with_parent(dataclasses.replace(CARD, mode=EswitchMode.LEGACY)),
            Flavour.MLX5,
            Reason.NOT_SWITCHDEV,
            "devlink dev eswitch set pci/0000:03:00.0 mode switchdev",
        ),
        (
            with_parent(dataclasses.replace(CARD, mode=EswitchMode.LEGACY)),
            Flavour.VIRTIO,
            Reason.NOT_SWITCHDEV,
            "that ends every function of the card",
        ),
        (
            with_parent(dataclasses.replace(card(driver="ice"), mode=EswitchMode.LEGACY)),
            Flavour.ICE,
            Reason.NOT_SWITCHDEV,
            "mode switchdev` before it has virtual functions",
        ),
        (
            with_parent(dataclasses.replace(card(driver="ice"), mode=EswitchMode.LEGACY, stranded=True)),
            Flavour.ICE,
            Reason.NOT_SWITCHDEV,
            "Drain the node and reboot it",
        ),
        (
            with_parent(dataclasses.replace(CARD, mode=None)),
            Flavour.MLX5,
            Reason.UNSUPPORTED,
            "the DPU's own processor",
        ),
        (
            with_parent(dataclasses.replace(card(driver="ice"), mode=None)),
            Flavour.ICE,
            Reason.UNSUPPORTED,
            "it has no e-switch",
        ),
        (
            with_parent(dataclasses.replace(CARD, capacity=None, makes_ports=False)),
            Flavour.MLX5,
            Reason.KERNEL_WITHOUT_SUB_FUNCTIONS,
            "built without CONFIG_MLX5_SF",
        ),
        (with_parent(dataclasses.replace(CARD, mode=EswitchMode.UNKNOWN)), Flavour.MLX5, Reason.UNSUPPORTED, "a mode"),
        (
            with_parent(dataclasses.replace(CARD, error=KernelBusy("devlink dev show: no answer"))),
            Flavour.VIRTIO,
            Reason.KERNEL_BUSY,
            "devlink dev show: no answer",
        ),
        (with_parent(dataclasses.replace(CARD, capacity=0)), Flavour.VIRTIO, Reason.KERNEL_TOO_OLD, "PF_TOTAL_SF"),
        (
            with_parent(CARD, frozenset({"vfio-pci"})),
            Flavour.VIRTIO,
            Reason.DRIVER_NOT_LOADED,
            "modprobe vhost_vdpa",
        ),
        (with_parent(SILENT), Flavour.VFIO, Reason.NO_VIRTUAL_FUNCTION, "0000:03:00.0/sriov_numvfs"),
        (
            with_parent(dataclasses.replace(SILENT, types=(OFFER,))),
            Flavour.VFIO,
            Reason.NO_VIRTUAL_FUNCTION,
            "offers no mediated devices",
        ),
        (with_parent(CARD, frozenset()), Flavour.VFIO, Reason.DRIVER_NOT_LOADED, "modprobe vfio-pci"),
        (
            with_parent(
                dataclasses.replace(CARD, virtual_functions=(OfferedFunction(index=0, address="0000:03:00.2"),))
            ),
            Flavour.VFIO,
            Reason.UNSUPPORTED,
            "intel_iommu=on",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_type(
    survey: DiscoveredNode, flavour: Flavour, reason: Reason, words: str
) -> None:
    found = judged(survey, flavour)
    assert (found.possible, found.reason) == (False, reason)
    assert words in found.message


def test_where_a_dpu_manages_the_e_switch_no_setting_of_the_firmware_is_advised() -> None:
    assert "mlxconfig" not in (judged(with_parent(dataclasses.replace(CARD, mode=None)), Flavour.MLX5).message or "")


@pytest.mark.parametrize(
    ("survey", "flavour"),
    [
        (with_parent(CARD, frozenset({"virtio_vdpa"})), Flavour.VIRTIO),
        (with_parent(CARD, frozenset({"mlx5_vfio_pci"})), Flavour.VFIO),
        (with_parent(dataclasses.replace(SILENT, types=(OfferedType(id="x", capacity=1),)), frozenset()), Flavour.VFIO),
        (with_parent(dataclasses.replace(SILENT, types=(OfferedType(id="x"),)), frozenset()), Flavour.VFIO),
        (with_parent(dataclasses.replace(CARD, mode=EswitchMode.LEGACY)), Flavour.VFIO),
        (with_parent(dataclasses.replace(CARD, uplink=None)), Flavour.MLX5),
        (with_parent(dataclasses.replace(CARD, capacity=None)), Flavour.MLX5),
        (with_parent(dataclasses.replace(CARD, error=KernelBusy("no answer"))), Flavour.VFIO),
        (with_parent(dataclasses.replace(card(driver="ice", vendor="0x8086"), capacity=None)), Flavour.ICE),
    ],
)
def test_what_needs_nothing_more_is_possible(survey: DiscoveredNode, flavour: Flavour) -> None:
    assert judged(survey, flavour) == FlavourCapability(name=flavour, possible=True)
    assert flavour in told(survey).flavours


def test_a_card_whose_e_switch_is_inactive_can_and_says_that_no_frame_passes() -> None:
    node = with_parent(dataclasses.replace(CARD, mode=EswitchMode.SWITCHDEV_INACTIVE))
    found = judged(node, Flavour.MLX5)
    assert (found.possible, found.reason) == (True, None)
    assert "devlink dev eswitch set pci/0000:03:00.0 mode switchdev" in found.message
    assert [parent.eswitch_mode for parent in told(node).parents] == ["switchdev_inactive"]


def test_of_a_card_that_refuses_what_was_known_stays_and_is_counted() -> None:
    before = told(with_parent(CARD))
    sick = DiscoveredParent(CARD.function, error=KernelBusy("no answer"), virtual_functions=CARD.virtual_functions)
    status = told(with_parent(sick), before)
    (old,), (new,) = before.parents, status.parents
    assert (new.netdev, new.capacity, new.eswitch_mode, new.pf) == (old.netdev, old.capacity, old.eswitch_mode, old.pf)
    assert status.capacity == before.capacity
    assert {each.name for each in new.flavours if each.possible} == {Flavour.VFIO}


def test_a_card_that_its_driver_gave_up_shows_the_mode_that_it_is_in() -> None:
    before = told(with_parent(CARD))
    sick = DiscoveredParent(CARD.function, mode=EswitchMode.LEGACY, error=fatal_error("pci/0000:03:00.0"))
    (new,) = told(with_parent(sick), before).parents
    assert (new.eswitch_mode, new.capacity) == ("legacy", CARD.capacity)


def test_a_node_without_parents_or_without_devlink_says_so() -> None:
    assert (ready(told(DiscoveredNode())).status, ready(told(DiscoveredNode())).reason) == (
        "False",
        Reason.PARENT_NOT_FOUND,
    )
    assert told(DiscoveredNode()).parent_count == 0
    without = told(DiscoveredNode(missing=FamilyMissing("the kernel has no generic netlink family 'devlink'")))
    assert (ready(without).status, ready(without).reason) == ("False", Reason.KERNEL_TOO_OLD)
    assert "devlink" in ready(without).message


def test_a_node_that_can_make_nothing_names_the_obstacle_that_comes_first() -> None:
    legacy = dataclasses.replace(SILENT, mode=EswitchMode.LEGACY)
    other = card("0000:82:00.0", driver="i40e")
    found = ready(told(DiscoveredNode((dataclasses.replace(other, virtual_functions=()), legacy), frozenset())))
    assert (found.status, found.reason) == ("False", Reason.NOT_SWITCHDEV)
    assert found.message.startswith("pci/0000:03:00.0: its e-switch is in legacy mode")


def test_capacity_is_the_sum_of_those_that_tell() -> None:
    silent = dataclasses.replace(card("0000:82:00.0", driver="ice"), capacity=None)
    assert told(DiscoveredNode((CARD, silent, card("0000:83:00.0")))).capacity == 256
    assert told(DiscoveredNode((silent,))).capacity is None


def test_the_same_look_gives_an_equal_status_however_late_and_through_json_too() -> None:
    first = told(with_parent(CARD))
    assert told(with_parent(CARD), first, LATER) == first
    metadata = {"name": "n1", "uid": "u"}
    read = SubFunctionNode.of({"metadata": metadata, "status": msgspec.json.decode(msgspec.json.encode(first))})
    assert read.status == first


def test_the_time_of_a_condition_moves_with_its_status_alone() -> None:
    legacy = with_parent(dataclasses.replace(SILENT, mode=EswitchMode.LEGACY))
    first = told(DiscoveredNode())
    second = told(legacy, first, LATER)
    assert (ready(second).reason, ready(second).last_transition_time) == (Reason.NOT_SWITCHDEV, NOW)
    assert ready(told(with_parent(CARD), second, LATER)).last_transition_time == LATER


def test_a_look_that_failed_keeps_what_was_seen_and_says_why() -> None:
    seen = told(with_parent(CARD))
    unseen = build_unseen_status(KernelBusy("survey the node: no answer within 30 s"), ABOUT, seen, LATER)
    assert (ready(unseen).status, ready(unseen).reason) == ("False", Reason.KERNEL_BUSY)
    assert unseen.parents == seen.parents
    assert told(with_parent(CARD), unseen, LATER).parents == seen.parents


def test_what_the_schema_has_no_room_for_is_counted() -> None:
    many = dataclasses.replace(
        CARD,
        types=tuple(OfferedType(id=f"t{number}") for number in range(41)),
        virtual_functions=tuple(OfferedFunction(index=number, address="a") for number in range(200)),
        foreign=tuple(ForeignSubFunction(port=number) for number in range(100)),
    )
    status = told(DiscoveredNode((many, *(card(f"0000:{number:02x}:00.0") for number in range(4, 54)))))
    assert (status.parent_count, len(status.parents)) == (51, node.MOST_PARENTS)
    parent = status.parents[0]
    assert (len(parent.mediated_types), parent.more_mediated_types) == (node.MOST_TYPES, 9)
    assert (len(parent.virtual_functions), parent.more_virtual_functions) == (node.MOST_VIRTUAL_FUNCTIONS, 72)
    assert (len(parent.foreign_sub_functions), parent.more_foreign_sub_functions) == (node.MOST_FOREIGN, 68)


def test_a_name_that_is_too_long_to_stand_whole_is_not_offered_cut() -> None:
    (parent,) = told(with_parent(dataclasses.replace(CARD, types=(OfferedType(id="x" * 129), OFFER)))).parents
    assert (parent.mediated_types, parent.more_mediated_types) == ((OFFER,), 1)


def test_a_long_message_is_cut() -> None:
    busy = KernelBusy("m" * 40_000)
    message = ready(build_unseen_status(busy, ABOUT, NOTHING, NOW)).message
    assert (len(message), message[-1]) == (node.LONGEST_CONDITION, "…")
