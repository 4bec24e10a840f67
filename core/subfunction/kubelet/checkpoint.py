"""The kubelet's checkpoint: which container of which pod holds which device, by the kubelet's own account.

The file `kubelet_internal_checkpoint` is no API, yet it is all there is: PodResources leaves out init containers, and
only the file keeps what Allocate answered. Its form has been the same since 1.20
(`pkg/kubelet/cm/devicemanager/checkpoint/checkpoint.go`); the checksum is over Go's own rendering and is not looked at.

The file lags. The kubelet writes it after each Allocate and at each message of a ListAndWatch stream, not when a pod
ends; and what it writes names an ended pod until somebody asks PodResources or a pod is admitted (read in 1.36.2).
"""

import dataclasses
from pathlib import Path

import msgspec
from google.protobuf.message import DecodeError

from subfunction.errors import FolderError
from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse

KUBELET_FOLDER = Path("/var/lib/kubelet/device-plugins")
CHECKPOINT = "kubelet_internal_checkpoint"

UID_VARIABLE = "SUBFUNCTION_UID"
"""In every Allocate answer: the uids promised, comma-separated, in the order of the sorted device ids."""


@dataclasses.dataclass(frozen=True, slots=True)
class Holding:
    """One device that the kubelet gave to a container; `uid` is what Allocate promised, None if that cannot be told."""

    pod_uid: str
    container: str
    resource: str
    device_id: str
    uid: str | None

    @property
    def holder(self) -> str:
        """Name the container that holds it, the same way each time."""
        return f"{self.pod_uid}/{self.container}"


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    pod_uid: str = msgspec.field(name="PodUID")
    container_name: str
    resource_name: str
    device_ids: dict[str, list[str]] = msgspec.field(name="DeviceIDs")
    alloc_resp: bytes | None = None


class _Data(msgspec.Struct, frozen=True, rename="pascal"):
    # Go writes an empty list that was never appended to as null.
    pod_device_entries: list[_Entry] | None = None


class _File(msgspec.Struct, frozen=True, rename="pascal"):
    data: _Data


_DECODER = msgspec.json.Decoder(_File)


def read(path: Path) -> tuple[Holding, ...]:
    """Read who holds what.

    Raises:
        FolderError: the file is not there, torn or of another form. Nobody can then say that a device is free.
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise FolderError(
            f"cannot read {path}: {error.strerror}", hint=f"The kubelet writes it; look with `ls -l {path.parent}`."
        ) from error
    except msgspec.DecodeError as error:
        raise FolderError(f"{path} is not the kubelet's checkpoint as we know it: {error}") from error


def parse(raw: bytes) -> tuple[Holding, ...]:
    """Take a checkpoint's text apart; a device on several NUMA nodes is one holding.

    Raises:
        msgspec.DecodeError: the text is of another form.
    """
    return tuple(
        Holding(entry.pod_uid, entry.container_name, entry.resource_name, device_id, uid)
        for entry in _DECODER.decode(raw).data.pod_device_entries or ()
        for device_id, uid in _promised(entry).items()
    )


def _promised(entry: _Entry) -> dict[str, str | None]:
    ids = sorted({device_id for of_node in entry.device_ids.values() for device_id in of_node})
    try:
        answer = ContainerAllocateResponse.FromString(entry.alloc_resp or b"")
    except DecodeError:
        return dict.fromkeys(ids)
    uids = answer.envs.get(UID_VARIABLE, "").split(",")
    return dict(zip(ids, uids, strict=True)) if len(uids) == len(ids) and all(uids) else dict.fromkeys(ids)
