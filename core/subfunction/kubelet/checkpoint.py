"""Reads the kubelet's checkpoint: which container of which pod has which device, as the kubelet records it.

The file `kubelet_internal_checkpoint` is no API, but no API has what it has: PodResources leaves out init containers,
and only the file keeps what Allocate answered. Its form has been the same since 1.20
(`pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go`); the checksum is over Go's own rendering and is not verified.

The file lags. The kubelet writes it after each Allocate and at each message of a ListAndWatch stream, not when a pod
ends; and it writes an ended pod until a client calls PodResources or a pod is admitted (read in 1.36.2).
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
from google.protobuf.message import DecodeError

from subfunction.errors import CheckpointUnreadable
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse

KUBELET_ROOT = Path("/var/lib/kubelet")
KUBELET_FOLDER = Path("/var/lib/kubelet/device-plugins")
CHECKPOINT = "kubelet_internal_checkpoint"

UID_VARIABLE = "SUBFUNCTION_UID"
"""The variable in every Allocate answer with the uids handed out, comma-separated, in the order of the sorted ids."""


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceAllocation:
    """One device that the kubelet gave to a container; `uid` is what Allocate handed out, None if unknown.

    `paths` are the host's device nodes in the answer of Allocate, which the kubelet replays whenever the container
    starts, and `cdi_names` the CDI devices in it. Both are those of all the container's devices of this resource, since
    one answer covers all.
    """

    pod_uid: str
    container: str
    resource: str
    device_id: str
    uid: str | None
    paths: frozenset[str] = frozenset()
    cdi_names: frozenset[str] = frozenset()

    @property
    def holder(self) -> str:
        """Return the name of the container that has the device, as `<pod uid>/<container>`."""
        return f"{self.pod_uid}/{self.container}"


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    pod_uid: str = msgspec.field(name="PodUID")
    container_name: str
    resource_name: str
    device_ids: dict[str, list[str]] = msgspec.field(name="DeviceIDs")
    alloc_resp: bytes | None = None


class _Data(msgspec.Struct, frozen=True, rename="pascal"):
    # Go writes a list that was never appended to as null.
    pod_device_entries: list[_Entry] | None = None


class _File(msgspec.Struct, frozen=True, rename="pascal"):
    data: _Data


_DECODER = msgspec.json.Decoder(_File)


def read_checkpoint(path: Path) -> tuple[DeviceAllocation, ...]:
    """Read which container has which device.

    A kubelet with which no plugin has ever registered has written no file: if the folder exists, no device is in use.

    Raises:
        CheckpointUnreadable: the folder does not exist, or the file is torn or of another form.
    """
    try:
        return parse_checkpoint(path.read_bytes())
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.parent.is_dir():
            return ()
        raise CheckpointUnreadable(
            f"cannot read {path}: {error.strerror}", hint=f"The kubelet writes it; look with `ls -l {path.parent}`."
        ) from error
    except msgspec.DecodeError as error:
        raise CheckpointUnreadable(
            f"{path} is not the kubelet's checkpoint as we know it: {error}",
            hint=f"The kubelet writes it anew with its next message; if it stays so, look with `head -c 300 {path}`.",
        ) from error


def parse_checkpoint(raw: bytes) -> tuple[DeviceAllocation, ...]:
    """Parse a checkpoint's text; a device on several NUMA nodes is one allocation.

    Raises:
        msgspec.DecodeError: the text is of another form.
    """
    entries = _DECODER.decode(raw).data.pod_device_entries or ()
    return tuple(allocation for entry in entries for allocation in _allocations(entry))


def _allocations(entry: _Entry) -> Iterator[DeviceAllocation]:
    ids = sorted({device_id for of_node in entry.device_ids.values() for device_id in of_node})
    try:
        answer = ContainerAllocateResponse.FromString(entry.alloc_resp or b"")
    except DecodeError:
        answer = ContainerAllocateResponse()
    uids = answer.envs.get(UID_VARIABLE, "").split(",")
    promised = dict(zip(ids, uids, strict=True)) if len(uids) == len(ids) and all(uids) else dict.fromkeys(ids)
    paths = frozenset(device.host_path for device in answer.devices)
    names = frozenset(device.name for device in answer.cdi_devices)
    for device_id, uid in promised.items():
        yield DeviceAllocation(entry.pod_uid, entry.container_name, entry.resource_name, device_id, uid, paths, names)
