"""Builds the answer of Allocate from records. Pure.

The kubelet passes ids in random order, so everything here is sorted by id: lists in the environment are in the order of
the ids, and the same devices make the same container.
"""

import json
import re
from collections.abc import Iterable, Sequence

from subfunction.api.reasons import Reason
from subfunction.errors import AllocationRefused
from subfunction.kubelet.checkpoint import UID_VARIABLE
from subfunction.kubelet.deviceplugin_pb2 import CDIDevice, ContainerAllocateResponse, DeviceSpec
from subfunction.state.records import DeviceNode, Record

DEVICE_VARIABLE = "SUBFUNCTION_DEVICE"

_INFO = (
    (re.compile(r"/dev/infiniband/([a-z_]+?)\d*"), "rdma", r"\1"),
    (re.compile(r"/dev/vhost-vdpa-\d+"), "vdpa", "mount"),
    (re.compile(r"/dev/vfio/vfio"), "vfio", "mount"),
    (re.compile(r"/dev/vfio/(?:noiommu-)?\d+"), "vfio", "dev-mount"),
)
"""Provider and key for each device node in the SR-IOV device plugin's `_INFO` variable (its `pkg/infoprovider`)."""


def build_response(resource: str, records: Iterable[Record]) -> ContainerAllocateResponse:
    """Build one container's answer from its devices' records.

    Raises:
        AllocationRefused: two devices need the same path in the container for different things.
    """
    ordered = sorted(records, key=lambda record: record.device_id)
    direct = {node.container_path for record in ordered for node in record.nodes}
    nodes: dict[str, DeviceNode] = {}
    for record in ordered:
        for node in record.all_nodes:
            _merge(nodes, node)
    return ContainerAllocateResponse(
        envs=build_environment(resource, ordered),
        devices=[
            DeviceSpec(container_path=node.container_path, host_path=node.host_path, permissions=node.permissions)
            for path, node in nodes.items()
            if path in direct
        ],
        cdi_devices=[CDIDevice(name=record.cdi_name) for record in ordered if record.cdi_name],
    )


def build_environment(resource: str, ordered: Sequence[Record]) -> dict[str, str]:
    """Merge the environments of several devices, whose records are sorted by id.

    A variable of the records has one value per device, comma-separated, empty where a device has none. Our own come
    last, so that no record can overwrite them: by `SUBFUNCTION_UID`, which the kubelet's checkpoint keeps,
    PreStartContainer tells which sub-function was allocated.
    """
    keys = sorted({key for record in ordered for key in record.env})
    merged = {key: ",".join(record.env.get(key, "") for record in ordered) for key in keys}
    ids = ",".join(record.device_id for record in ordered)
    # The name that the SR-IOV device plugin uses, without characters that a shell variable cannot have.
    name = "PCIDEVICE_" + re.sub(r"[^A-Z0-9_]", "_", resource.upper())
    return merged | {
        UID_VARIABLE: ",".join(record.uid for record in ordered),
        DEVICE_VARIABLE: ids,
        name: ids,
        f"{name}_INFO": json.dumps(
            {record.device_id: _device_info(record) for record in ordered}, separators=(",", ":")
        ),
    }


def _merge(nodes: dict[str, DeviceNode], node: DeviceNode) -> None:
    # Devices share some nodes (`/dev/infiniband/rdma_cm`); of two different ones the kubelet silently keeps the first.
    if nodes.setdefault(node.container_path, node) != node:
        raise AllocationRefused(
            Reason.UNSUPPORTED,
            f"two of the devices asked for want {node.container_path} in the container",
            hint="Ask for one of them a container.",
        )


def _device_info(record: Record) -> dict[str, dict[str, str]]:
    info: dict[str, dict[str, str]] = {"generic": {"deviceID": record.device_id}}
    for node in record.all_nodes:
        for pattern, provider, key in _INFO:
            if match := pattern.fullmatch(node.container_path):
                info.setdefault(provider, {})[match.expand(key)] = node.container_path
    return info
