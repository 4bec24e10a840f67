"""What containerd and Multus would read on a node, read by hand: plain JSON, compared with the records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from subfunction.state.claims import PortClaim, VirtualFunctionClaim
from subfunction.state.records import Record, State
from subfunction.state.store import FileStore

OWNER: Final = "subfunction.dev/uid"


def cdi_file(folder: Path, uid: str) -> dict[str, Any]:
    """Read a sub-function's CDI file."""
    found: dict[str, Any] = json.loads((folder / f"subfunction.dev-sf_{uid}.json").read_text(encoding="utf-8"))
    return found


def device_info(folder: Path, record: Record) -> dict[str, Any]:
    """Read a sub-function's device-info file, as Multus finds it."""
    name = f"{record.resource.replace('/', '-')}-{record.device_id}-device.json"
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def wrong(records: FileStore[Record], cdi: Path, info: Path, boot_id: str) -> Iterator[str]:
    """Say what must never be so, whenever an agent ends: a file of nobody's, or an offer without its files."""
    known = records.read_all().items
    ours = {path.stem.removeprefix("subfunction.dev-sf_") for path in cdi.glob("subfunction.dev-sf_*.json")}
    if strays := ours - set(known):
        yield f"CDI files of nobody: {sorted(strays)}"
    for path in info.glob("*.json"):
        if json.loads(path.read_text(encoding="utf-8")).get(OWNER) not in known:
            yield f"a device-info file of nobody: {path.name}"
    for uid, record in known.items():
        if record.state is not State.READY or not record.health.healthy or record.boot_id != boot_id:
            continue
        if record.cdi_name is not None:
            yield from _unresolved(record, cdi_file(cdi, uid) if uid in ours else None)
        elif uid in ours:
            yield f"{uid} has a CDI file, and offers no CDI name"
        vdpa = isinstance(record.claim, PortClaim) and record.claim.vdpa is not None
        if (vdpa or isinstance(record.claim, VirtualFunctionClaim)) and device_info(info, record)[OWNER] != uid:
            yield f"the device-info file of {uid} is another's"


def _unresolved(record: Record, file: dict[str, Any] | None) -> Iterator[str]:
    if file is None:
        yield f"{record.uid} is offered as {record.cdi_name}, and there is no file of it"
        return
    [device] = file["devices"]
    edits = device["containerEdits"]
    if f"{file['kind']}={device['name']}" != record.cdi_name:
        yield f"{record.uid} is offered as {record.cdi_name}, and its file is of {device['name']}"
    nodes = [node["path"] for node in edits.get("deviceNodes", ())]
    if nodes != [node.container_path for node in record.cdi_nodes]:
        yield f"{record.uid} is offered with {record.cdi_nodes}, and its file has {nodes}"
    netdevs = [netdev["hostInterfaceName"] for netdev in edits.get("netDevices", ())]
    if netdevs != ([record.cdi_netdev] if record.cdi_netdev else []):
        yield f"{record.uid} is offered with {record.cdi_netdev!r}, and its file has {netdevs}"
