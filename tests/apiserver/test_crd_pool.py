"""The SubFunctionPool CRD: what is its own. What it has of the SubFunction's is the same text (tests/controller)."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from components.judge import Judge
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.server import crds_folder

CRD = yaml.safe_load((crds_folder() / "subfunctionpools.yaml").read_text())
ROOT = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
MLX5 = {"spec": {"flavour": "mlx5"}}
VF = {"spec": {"flavour": "vfio", "vfio": {"virtualFunction": 0}}}

# (field, how the sentence begins, a spec that is refused, one like it that is accepted)
WRONG_AND_RIGHT: list[tuple[str, str, JsonObject, JsonObject]] = [
    ("spec.per", "virtual functions are counted", {"template": VF, "per": "Node"}, {"template": VF}),
    ("spec.per", "per is one of Parent, Node", {"per": "Card"}, {"per": "Node"}),
    ("spec.nodeSelector", "a key of nodeSelector", {"nodeSelector": {"": "x"}}, {"nodeSelector": {"a/b": "x"}}),
    (
        "spec.parents[0]",
        "parent is exactly one",
        {"parents": [{}]},
        {"parents": [{"netdev": "eth0"}, {"netdev": "eth1"}]},
    ),
    ("spec.replicas", "replicas is 0 to 4096", {"replicas": -1}, {"replicas": 0}),
    ("spec.replicas", "replicas is 0 to 4096", {"replicas": 4097}, {"replicas": 4096}),
    (
        "spec.template.metadata.labels[team]",
        "a label's value",
        {"template": MLX5 | {"metadata": {"labels": {"team": "a b"}}}},
        {"template": MLX5 | {"metadata": {"labels": {"team": "a_b.c", "none": ""}}}},
    ),
    (
        "spec.template.metadata.labels",
        "a label's key",
        {"template": MLX5 | {"metadata": {"labels": {"a b": "x"}}}},
        {"template": MLX5 | {"metadata": {"labels": {"example.com/a": "x"}}}},
    ),
    (
        "spec.template.metadata.labels",
        "labels of subfunction.dev are the pool's own",
        {"template": MLX5 | {"metadata": {"labels": {"subfunction.dev/pool": "x"}}}},
        {"template": MLX5 | {"metadata": {"labels": {"pool": "x"}}}},
    ),
    (
        "spec.template.metadata.annotations",
        "an annotation's key",
        {"template": MLX5 | {"metadata": {"annotations": {"/a": "x"}}}},
        {"template": MLX5 | {"metadata": {"annotations": {"example.com/a": "any text"}}}},
    ),
    (
        "spec.updateStrategy.type",
        "type is one of",
        {"updateStrategy": {"type": "Recreate"}},
        {"updateStrategy": {"type": "OnDelete"}},
    ),
    *(
        (
            "spec.updateStrategy.maxUnavailable",
            "maxUnavailable is a count",
            {"updateStrategy": {"maxUnavailable": wrong}},
            {"updateStrategy": {"maxUnavailable": right}},
        )
        for wrong, right in ((0, 1), ("0%", "1%"), ("101%", "100%"), ("10", 10))
    ),
    (
        "spec.template.spec.mlx5",
        "the block mlx5 belongs",
        {"template": {"spec": {"flavour": "ice", "mlx5": {}}}},
        {"template": {"spec": {"flavour": "mlx5", "mlx5": {}}}},
    ),
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _object(spec: JsonObject, *, name: str = "fast", status: JsonObject | None = None) -> JsonObject:
    whole = {
        "apiVersion": "subfunction.dev/v1alpha1",
        "kind": "SubFunctionPool",
        "metadata": {"name": name},
        "spec": {"template": MLX5, **spec},
    }
    return {**whole, **({"status": status} if status is not None else {})}


@pytest.mark.parametrize(("field", "sentence", "wrong", "right"), WRONG_AND_RIGHT)
async def test_a_wrong_value_is_refused_with_a_sentence_and_a_right_one_accepted(
    judge: Judge, field: str, sentence: str, wrong: JsonObject, right: JsonObject
) -> None:
    refused = await judge.created(_object(wrong))
    assert refused.says(field, sentence), refused
    assert (await judge.created(_object(right))).accepted


async def test_a_name_is_no_longer_than_a_label(judge: Judge) -> None:
    assert (await judge.created(_object({}, name="a" * 63))).accepted
    refused = await judge.created(_object({}, name="a" * 64))
    assert "a pool's name is at most 63 characters" in refused.body["message"]


async def test_what_a_pool_counts_for_does_not_change_and_all_else_does(judge: Judge) -> None:
    refused = await judge.changed(_object({}), _object({"per": "Node"}))
    assert refused.says("spec.per", "per does not change"), refused
    other = {"spec": {"flavour": "ice", "resourceName": "example.com/a"}}
    changed = {"template": other, "replicas": 3, "parents": [{"netdev": "eth0"}], "nodeSelector": {"a": "b"}}
    assert (await judge.changed(_object({}), _object(changed))).accepted


async def test_what_is_not_said_is_filled_in(judge: Judge) -> None:
    made = await judge.created(_object({}))
    strategy = {"type": "RollingUpdate", "maxUnavailable": 1}
    assert made.body["spec"] == {"replicas": 1, "per": "Parent", "updateStrategy": strategy, "template": MLX5}
    partly = await judge.created(_object({"updateStrategy": {"maxUnavailable": "10%"}}))
    assert partly.body["spec"]["updateStrategy"] == {"type": "RollingUpdate", "maxUnavailable": "10%"}


async def test_a_trouble_is_one_a_node_with_a_reason_of_one_word(judge: Judge) -> None:
    trouble = {"node": "n1", "reason": "Full", "message": "it is full"}
    assert (await judge.reported(_object({}, status={"trouble": [trouble]}))).accepted
    twice = await judge.reported(_object({}, status={"trouble": [trouble, trouble]}))
    assert twice.reasons == ("FieldValueDuplicate",), twice
    wrong = await judge.reported(_object({}, status={"trouble": [trouble | {"reason": "is full"}]}))
    assert wrong.says("status.trouble[0].reason", "a trouble's reason is one CamelCase word"), wrong


async def test_every_field_is_described_and_bounded() -> None:
    for part in _parts(ROOT):
        for name, field in part.get("properties", {}).items():
            assert name == "metadata" or field.get("description"), name
    sizes = {"string": "maxLength", "array": "maxItems"}
    kinds = [(part.get("type"), part) for part in _parts(ROOT)]
    assert [part for kind, part in kinds if kind in sizes and sizes[kind] not in part] == []
    assert [part for _, part in kinds if part.get("x-kubernetes-int-or-string") and "maxLength" not in part] == []
    assert [part for part in _parts(ROOT) if "additionalProperties" in part and "maxProperties" not in part] == []


def _parts(schema: JsonObject) -> Iterator[dict[str, Any]]:
    yield schema
    for below in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from _parts(below)
