"""The SubFunctionNode CRD: what an agent may say at most is accepted whole, and what programs match on is guarded."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import yaml

from components.judge import Judge
from subfunction.api import node
from subfunction.api.conditions import Condition
from subfunction.api.node import (
    FlavourCapability,
    ForeignSubFunction,
    NodeStatus,
    OfferedFunction,
    OfferedType,
    ParentStatus,
    RdmaNamespaces,
)
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction_simulator.apiserver.client import Client
from subfunction_simulator.apiserver.kinds.catalogue import Catalogue
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.server import crds_folder

NODES = "/apis/subfunction.dev/v1alpha1/subfunctionnodes"
CRD = yaml.safe_load((crds_folder() / "subfunctionnodes.yaml").read_text())
ROOT = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
STATUS = ROOT["properties"]["status"]["properties"]
PARENT = STATUS["parents"]["items"]["properties"]
READY = Condition(type="Ready", status="True", reason="Ready", last_transition_time="2026-11-22T09:00:00Z")
ETCD_REQUEST_BYTES = 1_500_000
MOST_DRIVERS = 32


pytestmark = pytest.mark.asyncio(loop_scope="module")


def fullest() -> NodeStatus:
    """Give a status in which every field is set, every list full and every text as long as may be."""
    parents = tuple(
        ParentStatus(
            device=f"pci/0000:05:{number:02x}.0",
            netdev="n" * 15,
            alternative_names=tuple(f"{number:02}".ljust(node.LONGEST_NAME, "n") for number in range(node.MOST_NAMES)),
            driver="d" * node.LONGEST_WORD,
            vendor="15b3",
            numa_node=1,
            eswitch_mode="switchdev_inactive",
            pf=1,
            capacity=2**31,
            flavours=tuple(
                FlavourCapability(
                    name=flavour,
                    possible=False,
                    reason=Reason.DRIVER_NOT_LOADED,
                    message="m" * node.LONGEST_MESSAGE,
                )
                for flavour in Flavour
            ),
            mediated_types=tuple(
                OfferedType(id=f"{index:0{node.LONGEST_TYPE}}", api="vfio-pci", capacity=16)
                for index in range(node.MOST_TYPES)
            ),
            more_mediated_types=1,
            virtual_functions=tuple(
                OfferedFunction(index=index, address="0000:05:00.2", driver="mlx5_vfio_pci", group=index)
                for index in range(node.MOST_VIRTUAL_FUNCTIONS)
            ),
            more_virtual_functions=1,
            foreign_sub_functions=tuple(
                ForeignSubFunction(
                    port=index, number=2**32 - 1, controller=1, mac_address="02:00:00:00:00:01", state="inactive"
                )
                for index in range(node.MOST_FOREIGN)
            ),
            more_foreign_sub_functions=1,
        )
        for number in range(node.MOST_PARENTS)
    )
    return NodeStatus(
        conditions=(msgspec.structs.replace(READY, message="m" * node.LONGEST_CONDITION),),
        agent_version="v" * node.LONGEST_WORD,
        kernel="k" * node.LONGEST_KERNEL,
        rdma_namespaces=RdmaNamespaces.EXCLUSIVE,
        drivers=tuple(f"{number:0{node.LONGEST_WORD}}" for number in range(MOST_DRIVERS)),
        flavours=tuple(Flavour),
        parent_count=node.MOST_PARENTS + 1,
        capacity=2**40,
        parents=parents,
    )


def written(status: NodeStatus | JsonObject) -> JsonObject:
    body = status if isinstance(status, dict) else msgspec.json.decode(msgspec.json.encode(status))
    return {
        "apiVersion": "subfunction.dev/v1alpha1",
        "kind": "SubFunctionNode",
        "metadata": {"name": "n1"},
        "status": body,
    }


async def test_the_most_that_an_agent_may_say_is_accepted_and_nothing_of_it_is_dropped(judge: Judge) -> None:
    whole = written(fullest())
    reported = await judge.reported(whole)
    assert reported.accepted
    assert reported.body["status"] == whole["status"]


async def test_the_most_that_an_agent_may_say_fits_into_etcd() -> None:
    assert len(msgspec.json.encode(written(fullest()))) < ETCD_REQUEST_BYTES * 0.8


async def test_every_field_of_the_schema_can_be_said() -> None:
    said = written(fullest())
    known = {path for path, _ in _fields("", ROOT)}
    assert known - set(_paths("", said)) - {".metadata"} == set()


@pytest.mark.parametrize(
    ("full", "change"),
    [
        ("status.parents", lambda s: _replaced(s, parents=(*s.parents, ParentStatus(device="pci/9")))),
        ("status.drivers", lambda s: _replaced(s, drivers=(*s.drivers, "one"))),
        ("status.kernel", lambda s: _replaced(s, kernel=f"{s.kernel}k")),
        ("status.parents[0].virtualFunctions", lambda s: _first(s, virtual_functions=_more(s, "virtual_functions"))),
        ("status.parents[0].alternativeNames", lambda s: _first(s, alternative_names=_more(s, "alternative_names"))),
        (
            "status.parents[0].alternativeNames[0]",
            lambda s: _first(s, alternative_names=("n" * (node.LONGEST_NAME + 1), *s.parents[0].alternative_names[1:])),
        ),
        ("status.parents[0].mediatedTypes", lambda s: _first(s, mediated_types=_more(s, "mediated_types"))),
        ("status.parents[0].foreignSubFunctions", lambda s: _first(s, foreign_sub_functions=_more(s, "foreign"))),
    ],
)
async def test_the_agents_limits_are_those_of_the_schema(
    judge: Judge, full: str, change: Callable[[NodeStatus], NodeStatus]
) -> None:
    refused = await judge.reported(written(change(fullest())))
    assert full in [field for field, _ in refused.causes], refused


@pytest.mark.parametrize(
    ("field", "sentence", "wrong"),
    [
        ("status.rdmaNamespaces", "rdmaNamespaces is one of shared, exclusive", {"rdmaNamespaces": "both"}),
        (
            "status.parents[0].flavours[0].reason",
            "a flavour's reason is one CamelCase word, like NotSwitchdev",
            {"parents": [{"device": "x/y", "flavours": [{"name": "mlx5", "possible": False, "reason": "not so"}]}]},
        ),
        (
            "status.conditions[0].status",
            "status is one of True, False, Unknown",
            {"conditions": [{**msgspec.to_builtins(READY), "status": "yes"}]},
        ),
        (
            "status.conditions[0].reason",
            "reason is one CamelCase word, like ParentNotFound",
            {"conditions": [{**msgspec.to_builtins(READY), "reason": "no parent"}]},
        ),
    ],
)
async def test_a_wrong_value_is_refused_with_a_sentence(
    judge: Judge, field: str, sentence: str, wrong: JsonObject
) -> None:
    refused = await judge.reported(written(wrong))
    assert (len(refused.causes), refused.says(field, sentence)) == (1, True), refused


async def test_every_reason_of_the_project_may_stand_at_a_flavour(judge: Judge) -> None:
    for reason in Reason:
        judged = FlavourCapability(name=Flavour.MLX5, possible=False, reason=reason)
        parent = ParentStatus(device="pci/1", flavours=(judged,))
        assert (await judge.reported(written(NodeStatus(parents=(parent,))))).accepted


async def test_every_field_is_described_and_bounded() -> None:
    sizes = {"string": "maxLength", "array": "maxItems"}
    for path, field in _fields("", ROOT):
        assert path == ".metadata" or field.get("description"), path
        assert field["type"] not in sizes or sizes[field["type"]] in field, path
        assert "items" not in field or "maxLength" in field["items"] or field["items"]["type"] == "object", path


async def test_a_category_is_no_name_of_a_kind_so_that_a_name_is_never_asked_of_two() -> None:
    """`kubectl get WORD NAME` takes a category first, and refuses a name where it holds two kinds."""
    kinds = [resource for resource in Catalogue.load(crds_folder()).resources if resource.group == "subfunction.dev"]
    assert {kind.kind for kind in kinds} >= {"SubFunction", "SubFunctionNode"}
    names = {word for kind in kinds for word in (kind.singular, kind.plural, kind.kind.lower(), *kind.short_names)}
    assert {category for kind in kinds for category in kind.categories} == {"sf-all"}
    assert "sf-all" not in names


@pytest.mark.asyncio(loop_scope="function")
async def test_the_table_shows_what_placement_would_look_at(api: Client) -> None:
    await api("POST", NODES, written({}))
    await api.merge(f"{NODES}/n1/status", {"status": msgspec.to_builtins(_replaced(fullest(), drivers=("vfio-pci",)))})
    table = (await api("GET", NODES, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).body
    shown = {
        column["name"]: cell
        for column, cell in zip(table["columnDefinitions"], table["rows"][0]["cells"], strict=True)
        if not column["priority"] or column["name"] == "Drivers"
    }
    assert shown.pop("Age")
    assert shown == {
        "Name": "n1",
        "Parents": 33,
        "SubFunctions": 2**40,
        "Flavours": '["mlx5","ice","virtio","vfio"]',
        "Drivers": '["vfio-pci"]',
        "Ready": "True",
    }


def _replaced(status: NodeStatus, **changes: Any) -> NodeStatus:
    return msgspec.structs.replace(status, **changes)


def _first(status: NodeStatus, **changes: Any) -> NodeStatus:
    first, *others = status.parents
    return _replaced(status, parents=(msgspec.structs.replace(first, **changes), *others))


def _more(status: NodeStatus, what: str) -> tuple[Any, ...]:
    parent = status.parents[0]
    return {
        "virtual_functions": (*parent.virtual_functions, OfferedFunction(index=999, address="0000:05:00.2")),
        "alternative_names": (*parent.alternative_names, "one-more"),
        "mediated_types": (*parent.mediated_types, OfferedType(id="one-more")),
        "foreign": (*parent.foreign_sub_functions, ForeignSubFunction(port=999)),
    }[what]


def _fields(path: str, schema: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(f"{path}.{name}", field.get("items", field))


def _paths(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield f"{path}.{name}"
            yield from _paths(f"{path}.{name}", below)
    elif isinstance(value, list):
        for below in value:
            yield from _paths(path, below)
