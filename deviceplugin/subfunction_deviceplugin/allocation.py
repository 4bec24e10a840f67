"""What Allocate hands out: a pure function of records.

The kubelet gives ids in random order, so everything here is sorted by id: lists in the environment stand in the order
of the ids, and the same devices make the same container.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from subfunction.errors import AllocationRefused
from subfunction.kubelet.checkpoint import UID_VARIABLE
from subfunction.kubelet.deviceplugin_pb2 import CDIDevice, ContainerAllocateResponse, DeviceSpec, Mount
from subfunction.reasons import Reason
from subfunction.records import DeviceNode, Record
from subfunction.records import Mount as RecordMount

T = TypeVar("T", DeviceNode, RecordMount)

DEVICE_VARIABLE = "SUBFUNCTION_DEVICE"

_INFO = (
    (re.compile(r"/dev/infiniband/([a-z_]+?)\d*"), "rdma", r"\1"),
    (re.compile(r"/dev/vhost-vdpa-\d+"), "vdpa", "mount"),
    (re.compile(r"/dev/vfio/vfio"), "vfio", "mount"),
    (re.compile(r"/dev/vfio/(?:noiommu-)?\d+"), "vfio", "dev-mount"),
)
"""Where the SR-IOV device plugin's `_INFO` variable files a device node, and under which key (`pkg/infoprovider`)."""


def answer(resource: str, records: Iterable[Record]) -> ContainerAllocateResponse:
    """Make one container's answer out of its devices' records.

    Raises:
        AllocationRefused: two devices want the same path of the container for different things.
    """
    ordered = sorted(records, key=lambda record: record.device_id)
    direct = {node.container_path for record in ordered for node in record.nodes}
    nodes: dict[str, DeviceNode] = {}
    mounts: dict[str, RecordMount] = {}
    for record in ordered:
        for node in record.all_nodes:
            _place(nodes, node.container_path, node)
        for mount in record.mounts:
            _place(mounts, mount.container_path, mount)
    return ContainerAllocateResponse(
        envs=environment(resource, ordered),
        devices=[
            DeviceSpec(container_path=node.container_path, host_path=node.host_path, permissions=node.permissions)
            for path, node in nodes.items()
            if path in direct
        ],
        mounts=[
            Mount(container_path=mount.container_path, host_path=mount.host_path, read_only=mount.read_only)
            for mount in mounts.values()
        ],
        cdi_devices=[CDIDevice(name=record.cdi_name) for record in ordered if record.cdi_name],
    )


def environment(resource: str, ordered: Sequence[Record]) -> dict[str, str]:
    """Merge the environment of several devices, whose records are sorted by id.

    A variable of the records has one value a device, comma-separated, empty where a device has none. Ours come last, so
    that no record can pass for another one: `SUBFUNCTION_UID` is what PreStartContainer goes by.
    """
    keys = sorted({key for record in ordered for key in record.env})
    merged = {key: ",".join(record.env.get(key, "") for record in ordered) for key in keys}
    ids = ",".join(record.device_id for record in ordered)
    # As the SR-IOV device plugin names them, and moreover without anything that a shell cannot read.
    name = "PCIDEVICE_" + re.sub(r"[^A-Z0-9_]", "_", resource.upper())
    return merged | {
        UID_VARIABLE: ",".join(record.uid for record in ordered),
        DEVICE_VARIABLE: ids,
        name: ids,
        f"{name}_INFO": json.dumps({record.device_id: _info(record) for record in ordered}, separators=(",", ":")),
    }


def _place(places: dict[str, T], path: str, thing: T) -> None:
    # Several devices share some (`/dev/infiniband/rdma_cm`); the kubelet would silently keep the first of two others.
    if places.setdefault(path, thing) != thing:
        raise AllocationRefused(
            Reason.UNSUPPORTED,
            f"two of the devices asked for want {path} in the container",
            hint="Ask for one of them a container.",
        )


def _info(record: Record) -> dict[str, dict[str, str]]:
    info: dict[str, dict[str, str]] = {"generic": {"deviceID": record.device_id}}
    for node in record.all_nodes:
        for pattern, provider, key in _INFO:
            if match := pattern.fullmatch(node.container_path):
                info.setdefault(provider, {})[match.expand(key)] = node.container_path
    return info
