"""The SubFunction CRD: each of its rules refuses what is wrong with its sentence, and lets pass what is right."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from components.judge import Judge
from subfunction_simulator.apiserver.objects import JsonObject
from subfunction_simulator.apiserver.server import crds_folder

CRD = yaml.safe_load((crds_folder() / "subfunctions.yaml").read_text())
ROOT = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

PARENT = {"device": "pci/0000:05:00.0"}
MLX5 = {"flavour": "mlx5", "parent": PARENT}
VIRTIO = {"flavour": "virtio", "parent": PARENT}
VF = {"flavour": "vfio", "parent": PARENT, "vfio": {"virtualFunction": 0}}
MDEV = {"flavour": "vfio", "parent": PARENT, "vfio": {"mediatedDevice": "mlx5_core-local"}}
READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Done",
    "message": "",
    "lastTransitionTime": "2026-11-22T09:00:00Z",
}

# (field, how the sentence begins, a spec that is refused, one like it that is accepted)
WRONG_AND_RIGHT = [
    ("spec.nodeName", "nodeName is the name", MLX5 | {"nodeName": "Worker_1"}, MLX5 | {"nodeName": "worker-1.lab"}),
    (
        "spec.nodeSelector",
        "a key of nodeSelector",
        MLX5 | {"nodeSelector": {"": "x"}},
        MLX5 | {"nodeSelector": {"kubernetes.io/arch": "amd64"}},
    ),
    ("spec.parent", "parent is exactly one", MLX5 | {"parent": {}}, MLX5 | {"parent": {"netdev": "ens1f0np0"}}),
    ("spec.parent", "parent is exactly one", MLX5 | {"parent": PARENT | {"netdev": "eth0"}}, MLX5),
    (
        "spec.parent.device",
        "device is a devlink handle",
        MLX5 | {"parent": {"device": "0000:05:00.0"}},
        MLX5 | {"parent": {"device": "auxiliary/mlx5_core.sf.4"}},
    ),
    (
        "spec.parent.device",
        "a pci handle is pci/",
        MLX5 | {"parent": {"device": "pci/05:00.0"}},
        MLX5 | {"parent": {"device": "pci/10000:e1:1f.7"}},
    ),
    (
        "spec.parent.netdev",
        "netdev is the name",
        MLX5 | {"parent": {"netdev": "eth 0"}},
        MLX5 | {"parent": {"netdev": "eth0.100"}},
    ),
    (
        "spec.parent.selector.driver",
        "driver is the name",
        MLX5 | {"parent": {"selector": {"driver": "mlx5 core"}}},
        MLX5 | {"parent": {"selector": {"driver": "mlx5_core"}}},
    ),
    (
        "spec.parent.selector.vendor",
        "vendor is a PCI vendor id",
        MLX5 | {"parent": {"selector": {"vendor": "15B3"}}},
        MLX5 | {"parent": {"selector": {"vendor": "15b3"}}},
    ),
    (
        "spec.parent.selector.numaNode",
        "numaNode is 0 to 1023",
        MLX5 | {"parent": {"selector": {"numaNode": -1}}},
        MLX5 | {"parent": {"selector": {"numaNode": 0}}},
    ),
    ("spec.number", "number is a sub-function number", MLX5 | {"number": -1}, MLX5 | {"number": 0}),
    ("spec.number", "number is a sub-function number", MLX5 | {"number": 2**32}, MLX5 | {"number": 2**32 - 1}),
    ("spec.number", "number is a sub-function's", VF | {"number": 88}, VF),
    (
        "spec.flavour",
        "flavour is one of mlx5, ice, virtio, vfio",
        MLX5 | {"flavour": "mlx4"},
        MLX5 | {"flavour": "ice"},
    ),
    (
        "spec.macAddress",
        "macAddress is six pairs",
        MLX5 | {"macAddress": "02-00-00-00-00-01"},
        MLX5 | {"macAddress": "02:00:00:00:00:0F"},
    ),
    (
        "spec.macAddress",
        "macAddress is a unicast",
        MLX5 | {"macAddress": "01:00:5e:00:00:01"},
        MLX5 | {"macAddress": "0e:00:5e:00:00:01"},
    ),
    (
        "spec.macAddress",
        "macAddress is a unicast",
        MLX5 | {"macAddress": "00:00:00:00:00:00"},
        MLX5 | {"macAddress": "00:00:00:00:00:01"},
    ),
    ("spec.macAddress", "a mediated device has no MAC", MDEV | {"macAddress": "02:00:00:00:00:01"}, MDEV),
    ("spec.mtu", "mtu is 68 to 9978 bytes", MLX5 | {"mtu": 67}, MLX5 | {"mtu": 68}),
    ("spec.mtu", "mtu is 68 to 9978 bytes", MLX5 | {"mtu": 9979}, MLX5 | {"mtu": 9978}),
    (
        "spec.capabilities.maxIOEventQueues",
        "maxIOEventQueues is a count",
        MLX5 | {"capabilities": {"maxIOEventQueues": 0}},
        MLX5 | {"capabilities": {"maxIOEventQueues": 8, "roce": False}},
    ),
    (
        "spec.capabilities",
        "migratable, ipsecCrypto and ipsecPacket are for virtual functions",
        MLX5 | {"capabilities": {"migratable": False}},
        VF | {"capabilities": {"migratable": True}},
    ),
    (
        "spec.rate.shareBitsPerSecond",
        "shareBitsPerSecond is at most",
        MLX5 | {"rate": {"shareBitsPerSecond": 3_000_000, "maxBitsPerSecond": 2_000_000}},
        MLX5 | {"rate": {"shareBitsPerSecond": 2_000_000, "maxBitsPerSecond": 2_000_000}},
    ),
    (
        "spec.rate.shareBitsPerSecond",
        "shareBitsPerSecond is 1000000",
        MLX5 | {"rate": {"shareBitsPerSecond": 0}},
        MLX5 | {"rate": {"shareBitsPerSecond": 1_000_000}},
    ),
    (
        "spec.rate.shareBitsPerSecond",
        "shareBitsPerSecond is a multiple",
        MLX5 | {"rate": {"shareBitsPerSecond": 1_500_000}},
        MLX5 | {"rate": {"shareBitsPerSecond": 2_000_000}},
    ),
    (
        "spec.rate.maxBitsPerSecond",
        "maxBitsPerSecond is 1000000",
        MLX5 | {"rate": {"maxBitsPerSecond": 11_000_000_000_000}},
        MLX5 | {"rate": {"maxBitsPerSecond": 10_000_000_000_000}},
    ),
    (
        "spec.rate.maxBitsPerSecond",
        "maxBitsPerSecond is a multiple",
        MLX5 | {"rate": {"maxBitsPerSecond": 10_000_000_001}},
        MLX5 | {"rate": {"maxBitsPerSecond": 10_000_000_000}},
    ),
    (
        "spec.mlx5",
        "ethernet or rdma is true",
        MLX5 | {"mlx5": {"ethernet": False, "rdma": False}},
        MLX5 | {"mlx5": {"ethernet": False}},
    ),
    ("spec.mlx5.ioEQSize", "ioEQSize is a count", MLX5 | {"mlx5": {"ioEQSize": 63}}, MLX5 | {"mlx5": {"ioEQSize": 64}}),
    (
        "spec.mlx5.eventEQSize",
        "eventEQSize is a count",
        MLX5 | {"mlx5": {"eventEQSize": 4097}},
        MLX5 | {"mlx5": {"eventEQSize": 4096}},
    ),
    ("spec.mlx5.maxMACs", "maxMACs is a power of 2", MLX5 | {"mlx5": {"maxMACs": 3}}, MLX5 | {"mlx5": {"maxMACs": 1}}),
    (
        "spec.mlx5.maxMACs",
        "maxMACs is a power of 2",
        MLX5 | {"mlx5": {"maxMACs": 0}},
        MLX5 | {"mlx5": {"maxMACs": 2_147_483_648}},
    ),
    ("spec.mlx5", "the block mlx5 belongs", VIRTIO | {"mlx5": {}}, MLX5 | {"mlx5": {}}),
    ("spec.virtio", "the block virtio belongs", MLX5 | {"virtio": {}}, VIRTIO | {"virtio": {}}),
    ("spec.vfio", "the block vfio belongs", MLX5 | {"vfio": {"virtualFunction": 0}}, VF),
    ("spec.vfio", "the block vfio belongs", MLX5 | {"flavour": "vfio"}, MDEV),
    (
        "spec.virtio.driver",
        "driver is one of vhost-vdpa, virtio-vdpa",
        VIRTIO | {"virtio": {"driver": "vdpa"}},
        VIRTIO | {"virtio": {"driver": "virtio-vdpa"}},
    ),
    (
        "spec.virtio.queuePairs",
        "queuePairs is a count",
        VIRTIO | {"virtio": {"queuePairs": 0}},
        VIRTIO | {"virtio": {"queuePairs": 4}},
    ),
    (
        "spec.virtio.features[0]",
        "a feature is a name in capitals",
        VIRTIO | {"virtio": {"features": ["csum"]}},
        VIRTIO | {"virtio": {"features": ["CSUM", "CTRL_VQ"]}},
    ),
    ("spec.virtio.mtu", "mtu is 68 to 9978", VIRTIO | {"virtio": {"mtu": 0}}, VIRTIO | {"virtio": {"mtu": 1500}}),
    (
        "spec.vfio",
        "vfio is exactly one of",
        VF | {"vfio": {"virtualFunction": 0, "mediatedDevice": "x"}},
        VF | {"vfio": {"mediatedDevice": "x"}},
    ),
    (
        "spec.vfio.virtualFunction",
        "virtualFunction is the index",
        VF | {"vfio": {"virtualFunction": 65535}},
        VF | {"vfio": {"virtualFunction": 65534}},
    ),
    (
        "spec.vfio.mediatedDevice",
        "mediatedDevice is a type",
        MDEV | {"vfio": {"mediatedDevice": "../x"}},
        MDEV | {"vfio": {"mediatedDevice": "nvidia-35"}},
    ),
    (
        "spec.representor.adminState",
        "adminState is one of up, down",
        MLX5 | {"representor": {"adminState": "UP"}},
        MLX5 | {"representor": {"adminState": "down"}},
    ),
    (
        "spec.representor.mtu",
        "mtu is 68 to 9978",
        MLX5 | {"representor": {"mtu": 10_000}},
        MLX5 | {"representor": {"mtu": 9000}},
    ),
    (
        "spec.representor.bridge",
        "bridge is the name",
        MLX5 | {"representor": {"bridge": "br/0"}},
        MLX5 | {"representor": {"bridge": "br0"}},
    ),
    (
        "spec.resourceName",
        "resourceName is domain/name",
        MLX5 | {"resourceName": "example.com/fast-rdma"},
        MLX5 | {"resourceName": "example.com/fast_rdma"},
    ),
    ("spec.resourceName", "resourceName is domain/name", MLX5 | {"resourceName": "mlx5"}, MLX5),
    (
        "spec.resourceName",
        "resourceName is in a domain of yours",
        MLX5 | {"resourceName": "node.kubernetes.io/sf"},
        MLX5 | {"resourceName": "mykubernetes.io/sf"},
    ),
    ("spec.number", "adopt names what it takes over", MLX5 | {"adopt": True}, MLX5 | {"adopt": True, "number": 88}),
    ("spec.number", "adopt names what it takes over", MDEV | {"adopt": True}, VF | {"adopt": True}),
    (
        "spec.parent",
        "adopt names what it takes over",
        MLX5 | {"adopt": True, "number": 88, "parent": {"selector": {"numaNode": 0}}},
        MLX5 | {"adopt": False, "parent": {"selector": {"numaNode": 0}}},
    ),
    (
        "spec.deletionPolicy",
        "deletionPolicy is one of Drain, Force, Retain",
        MLX5 | {"deletionPolicy": "Delete"},
        MLX5 | {"deletionPolicy": "Retain"},
    ),
]

# (field, how the sentence begins, what was, what is refused, what is accepted)
CHANGES = [
    ("spec.nodeName", "nodeName is set once", MLX5 | {"nodeName": "a"}, MLX5 | {"nodeName": "b"}, None),
    ("spec.nodeName", "nodeName is set once", MLX5 | {"nodeName": "a"}, MLX5, None),
    ("spec.number", "number does not change", MLX5 | {"number": 1}, MLX5 | {"number": 2}, None),
    ("spec.number", "number does not change", MLX5 | {"number": 1}, MLX5, None),
    ("spec.flavour", "flavour does not change", MLX5, MLX5 | {"flavour": "ice"}, MLX5 | {"mtu": 9000}),
    ("spec.parent", "parent does not change", MLX5, MLX5 | {"parent": {"netdev": "eth0"}}, None),
    ("spec.vfio", "vfio does not change", VF, VF | {"vfio": {"virtualFunction": 1}}, VF | {"mtu": 1500}),
    ("spec.resourceName", "resourceName does not change", MLX5, MLX5 | {"resourceName": "subfunction.dev/x"}, None),
    (
        "spec.resourceName",
        "resourceName does not change",
        MLX5 | {"resourceName": "subfunction.dev/x"},
        MLX5 | {"resourceName": "subfunction.dev/y"},
        MLX5 | {"resourceName": "subfunction.dev/x", "mtu": 1500},
    ),
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


def _object(spec: JsonObject, status: JsonObject | None = None) -> JsonObject:
    whole = {
        "apiVersion": "subfunction.dev/v1alpha1",
        "kind": "SubFunction",
        "metadata": {"name": "blue"},
        "spec": spec,
    }
    return {**whole, **({"status": status} if status is not None else {})}


@pytest.mark.parametrize(("field", "sentence", "wrong", "right"), WRONG_AND_RIGHT)
async def test_a_wrong_value_is_refused_with_a_sentence_and_a_right_one_accepted(
    judge: Judge, field: str, sentence: str, wrong: JsonObject, right: JsonObject
) -> None:
    refused = await judge.created(_object(wrong))
    assert refused.says(field, sentence), refused
    assert (await judge.created(_object(right))).accepted


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_what_stays_is_refused(
    judge: Judge, change: tuple[str, str, JsonObject, JsonObject, JsonObject | None]
) -> None:
    field, sentence, before, wrong, right = change
    old = _object(before)
    refused = await judge.changed(old, _object(wrong))
    assert refused.says(field, sentence), refused
    assert (await judge.changed(old, _object(right or before))).accepted


async def test_the_node_and_the_number_may_be_set_later(judge: Judge) -> None:
    assert (await judge.changed(_object(MLX5), _object(MLX5 | {"nodeName": "a", "number": 7}))).accepted


async def test_a_number_added_later_is_the_one_that_was_chosen(judge: Judge) -> None:
    old = _object(MLX5, {"number": 7})
    refused = await judge.changed(old, _object(MLX5 | {"number": 8}))
    sentence = "number may be added only as the one it already has, which status.number shows"
    assert [(field, said.endswith(sentence)) for field, said in refused.causes] == [("spec.number", True)], refused
    assert (await judge.changed(old, _object(MLX5 | {"number": 7}))).accepted


async def test_conditions_are_of_the_usual_form(judge: Judge) -> None:
    assert (await judge.reported(_object(MLX5, {"conditions": [READY]}))).accepted
    wrong = await judge.reported(_object(MLX5, {"conditions": [READY | {"status": "yes", "reason": "not ready"}]}))
    assert sorted(field for field, _ in wrong.causes) == ["status.conditions[0].reason", "status.conditions[0].status"]
    assert wrong.says("status.conditions[0].reason", "reason is one CamelCase word, like NotSwitchdev"), wrong
    assert wrong.says("status.conditions[0].status", "status is one of True, False, Unknown"), wrong
    twice = await judge.reported(_object(MLX5, {"conditions": [READY, READY]}))
    assert twice.reasons == ("FieldValueDuplicate",), twice


async def test_blocks_that_are_there_are_filled_in(judge: Judge) -> None:
    spec = (await judge.created(_object(MLX5 | {"mlx5": {}, "representor": {}}))).body["spec"]
    assert (spec["mlx5"], spec["representor"]) == ({"ethernet": True, "rdma": True}, {"adminState": "up"})
    virtio = await judge.created(_object(VIRTIO | {"virtio": {}}))
    assert virtio.body["spec"]["virtio"] == {"driver": "vhost-vdpa"}
    assert "mlx5" not in (await judge.created(_object(MLX5))).body["spec"]


async def test_what_is_missing_or_of_a_wrong_type_is_named(judge: Judge) -> None:
    refused = await judge.created(_object({"number": "88", "parent": PARENT}))
    said = [f"{field}: {message}" for field, message in refused.causes]
    assert 'spec.number: Invalid value: "string": spec.number in body must be of type integer: "string"' in said
    assert "spec.flavour: Required value" in said
    assert "some validation rules were not checked" in said[-1]


async def test_every_rule_of_the_crd_is_tried_here() -> None:
    tried = [case[1] for case in (*WRONG_AND_RIGHT, *CHANGES)]
    tried += ["number may be added", "status is one of", "reason is one"]
    rules = [rule for part in _parts(ROOT) for rule in part.get("x-kubernetes-validations", ())]
    assert [rule["message"] for rule in rules if not rule["message"].startswith(tuple(tried))] == []
    assert [said for said in tried if not any(rule["message"].startswith(said) for rule in rules)] == []


async def test_every_field_is_described_and_bounded() -> None:
    for part in _parts(ROOT):
        for name, field in part.get("properties", {}).items():
            assert name == "metadata" or field.get("description"), name
    sizes = {"string": "maxLength", "array": "maxItems"}
    unbounded = [part for part in _parts(ROOT) if part["type"] in sizes and sizes[part["type"]] not in part]
    assert unbounded == []
    assert [part for part in _parts(ROOT) if "additionalProperties" in part and "maxProperties" not in part] == []


def _parts(schema: JsonObject) -> Iterator[dict[str, Any]]:
    yield schema
    for below in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from _parts(below)
