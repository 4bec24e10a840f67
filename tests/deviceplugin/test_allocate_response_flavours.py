"""What a container is given of each flavour: Allocate's answer to records as the agent really writes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from matrix.flavours import FLAVOURS
from rig.world import World, derived
from subfunction.kernel.bus.mdev import derive_uuid
from subfunction.kernel.bus.vdpa import derive_vdpa_name
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse
from subfunction.state.records import Record
from subfunction_deviceplugin.allocate_response import build_response
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.observation import NodePolicy

VDPA, UUID, VF = derive_vdpa_name("uid-blue"), derive_uuid("uid-blue"), "0000:03:01.0"
CM = "/dev/infiniband/rdma_cm"

NODES: dict[str, list[str]] = {
    "mlx5": ["/dev/infiniband/uverbs1", CM],
    "ice": [],
    "virtio-vhost": ["/dev/vhost-vdpa-0"],
    "virtio-virtio": [],
    "vfio-vf": ["/dev/vfio/vfio", "/dev/vfio/1"],
    "vfio-mdev": ["/dev/vfio/vfio", "/dev/vfio/1"],
}
ENVIRONMENT: dict[str, dict[str, str]] = {
    "mlx5": {"DEVICE": "mlx5_core.sf.1", "MAC": derived(), "NETDEV": "eth1", "RDMA": "mlx5_1"},
    "ice": {"DEVICE": "ice.sf.1", "MAC": derived(), "NETDEV": "eth1"},
    "virtio-vhost": {"DEVICE": VDPA, "MAC": derived()},
    "virtio-virtio": {"DEVICE": VDPA, "MAC": derived(), "NETDEV": "eth1"},
    "vfio-vf": {"DEVICE": VF, "MAC": derived()},
    "vfio-mdev": {"DEVICE": UUID},
}
"""Less the prefix `SUBFUNCTION_`."""
INFO: dict[str, dict[str, dict[str, str]]] = {
    "mlx5": {"rdma": {"uverbs": "/dev/infiniband/uverbs1", "rdma_cm": CM}},
    "ice": {},
    "virtio-vhost": {"vdpa": {"mount": "/dev/vhost-vdpa-0"}},
    "virtio-virtio": {},
    "vfio-vf": {"vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/1"}},
    "vfio-mdev": {"vfio": {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/1"}},
}


def recorded(root: Path, flavour: str, policy: NodePolicy) -> Record:
    known = FLAVOURS[flavour]
    world = World(root, known.topology, policy=policy)
    spec: dict[str, Any] = dict(known.operations[0].spec or {})
    world.apply(**spec)
    assert world.settle().decision == Settled()
    return world.record()


def environment(given: ContainerAllocateResponse) -> tuple[dict[str, str], Any]:
    """Take the `_INFO` variable out of an answer's environment."""
    env = dict(given.envs)
    [name] = [key for key in env if key.endswith("_INFO")]
    return env, json.loads(env.pop(name))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_container_gets_the_nodes_and_names_of_its_flavour(tmp_path: Path, flavour: str) -> None:
    record = recorded(tmp_path / "node", flavour, NodePolicy())
    given = build_response(record.resource, [record])
    nodes = [(node.container_path, node.host_path, node.permissions) for node in given.devices]
    assert nodes == [(path, path, "rw") for path in NODES[flavour]]
    assert (list(given.mounts), list(given.cdi_devices), dict(given.annotations)) == ([], [], {})
    env, info = environment(given)
    device = ENVIRONMENT[flavour]["DEVICE"]
    short = record.resource.upper().replace(".", "_").replace("/", "_")
    named = {f"SUBFUNCTION_{name}": value for name, value in ENVIRONMENT[flavour].items()}
    assert env == named | {"SUBFUNCTION_UID": "uid-blue", f"PCIDEVICE_{short}": device}
    assert info == {device: {"generic": {"deviceID": device}} | INFO[flavour]}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_by_cdi_it_gets_the_name_instead_of_the_nodes_and_the_same_environment(tmp_path: Path, flavour: str) -> None:
    direct = recorded(tmp_path / "direct", flavour, NodePolicy())
    by_cdi = recorded(tmp_path / "cdi", flavour, NodePolicy(device_nodes="cdi"))
    given = build_response(by_cdi.resource, [by_cdi])
    assert list(given.devices) == []
    assert [each.name for each in given.cdi_devices] == ([by_cdi.cdi_name] if NODES[flavour] else [])
    assert environment(given) == environment(build_response(direct.resource, [direct]))
