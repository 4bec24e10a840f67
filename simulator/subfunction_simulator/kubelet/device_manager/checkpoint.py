"""The checkpoint file is written as the kubelet writes it.

The checksum is any number: the real one is over Go's rendering of the structures, and a kubelet alone checks it.
"""

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from subfunction.kubelet.deviceplugin_pb2 import ContainerAllocateResponse
from subfunction_simulator.kubelet.device_manager.devices import Allocation

_CHECKSUM = 1


def write(path: Path, allocations: Iterable[Allocation], registered: Mapping[str, Iterable[str]]) -> None:
    """Write the file whole: under a hidden name first, then renamed."""
    # Go writes null for a list that nothing was ever appended to.
    entries = [_entry(each) for each in allocations] or None
    data = {
        "PodDeviceEntries": entries,
        "RegisteredDevices": {name: sorted(healthy) for name, healthy in registered.items()},
    }
    temporary = path.with_name(f".{path.name}{os.getpid()}")
    temporary.write_text(json.dumps({"Data": data, "Checksum": _CHECKSUM}), encoding="utf-8")
    temporary.rename(path)


def read(path: Path) -> tuple[list[Allocation], list[str]]:
    """Read allocations and the names of registered resources; none of either where there is no file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["Data"]
    except FileNotFoundError:
        return [], []
    return [_allocation(entry) for entry in data["PodDeviceEntries"] or ()], list(data["RegisteredDevices"])


def _entry(each: Allocation) -> dict[str, Any]:
    return {
        "PodUID": each.pod_uid,
        "ContainerName": each.container,
        "ResourceName": each.resource,
        "DeviceIDs": {str(node): sorted(ids) for node, ids in each.nodes.items()},
        "AllocResp": base64.b64encode(each.answer.SerializeToString()).decode(),
    }


def _allocation(entry: Mapping[str, Any]) -> Allocation:
    return Allocation(
        entry["PodUID"],
        entry["ContainerName"],
        entry["ResourceName"],
        {int(node): frozenset(ids) for node, ids in entry["DeviceIDs"].items()},
        ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"])),
    )
