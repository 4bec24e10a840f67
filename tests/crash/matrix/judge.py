"""Whether node, files and API server say what the object asks for, once. Knows nothing of the operator's code.

The kernel is compared with lines written by hand, the record as the JSON it is, the object as the API server has it.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from matrix.flavour import NUMBER, Flavour, Operation
from matrix.sight import paths, sight
from matrix.stage import Stage

_FINALIZERS: Final = ["subfunction.dev/agent"]
_GONE: Final = "-"


@dataclasses.dataclass(slots=True)
class Published:
    """What the object's status has shown once, and what must stay so."""

    number: int | None = None
    identity: str | None = None


@dataclasses.dataclass(slots=True)
class Judge:
    """Judges one life; remembers what was published."""

    flavour: Flavour
    stage: Stage
    published: Published = dataclasses.field(default_factory=Published)

    async def complaints(self, operation: Operation) -> list[str]:
        """Say what is not as it must be after an operation; nothing if all is."""
        found = await self.stage.object()
        if operation.spec is None:
            return list(self._remains(operation, found))
        if found is None:
            return ["the object is gone"]
        try:
            return [*self._object(found), *self._kernel(operation, found.get("status", {})), *self._files(found)]
        except FileNotFoundError as error:
            return [f"something goes while it is looked at: {error.filename}"]

    async def settled(self) -> None:
        """Take note of what is published, now that nothing is to be complained of."""
        found = await self.stage.object()
        if found is not None:
            status = found.get("status", {})
            self.published = Published(status.get("number"), self._identity(status))

    def _identity(self, status: dict[str, Any]) -> str | None:
        """Give what must never change; the name of an auxiliary device is the kernel's to choose."""
        device = status.get("device") or {}
        identity = device.get("id")
        return identity if isinstance(identity, str) and ".sf." not in identity else None

    def _object(self, found: dict[str, Any]) -> Iterator[str]:
        metadata, status = found["metadata"], found.get("status", {})
        conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
        ready = conditions.get("Ready", {})
        if len(conditions) != len(status.get("conditions", ())):
            yield f"a condition stands there twice: {status['conditions']}"
        if status.get("observedGeneration") != metadata["generation"]:
            yield f"observed is {status.get('observedGeneration')} of {metadata['generation']}"
        if (ready.get("status"), ready.get("reason")) != ("True", "Ready"):
            yield f"not Ready: {ready.get('reason')}: {ready.get('message')}"
        if metadata.get("finalizers") != _FINALIZERS:
            yield f"finalizers are {metadata.get('finalizers')}"
        if status.get("number") != (NUMBER if self.flavour.numbered else None):
            yield f"the number is {status.get('number')}"
        was = self.published
        if was.number is not None and status.get("number") != was.number:
            yield f"published was number {was.number}, and now it is {status.get('number')}"
        if was.identity is not None and self._identity(status) != was.identity:
            yield f"published was {was.identity}, and now it is {self._identity(status)}"

    def _kernel(self, operation: Operation, status: dict[str, Any]) -> Iterator[str]:
        words = {"mac": status.get("macAddress"), "id": (status.get("device") or {}).get("id")}
        wanted = Counter(self.stage.baseline)
        for line in operation.lines:
            if line.startswith(_GONE):
                wanted[line.removeprefix(_GONE)] -= 1
            else:
                wanted[line.format(**words)] += 1
        yield from _differences(wanted, Counter(sight(self.stage.cluster.kernel)))

    def _files(self, found: dict[str, Any]) -> Iterator[str]:
        uid, status = found["metadata"]["uid"], found.get("status", {})
        folder = self.stage.cluster.records.path
        names = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
        if names != [f"{uid}.json"]:
            yield f"the records' folder holds {names}"
            return
        record = json.loads((folder / f"{uid}.json").read_text(encoding="utf-8"))
        said = (record["state"], record["health"]["healthy"], record["uid"], record["deviceId"])
        if said != ("ready", True, uid, (status.get("device") or {}).get("id")):
            yield f"the record says {said}"
        claim = record["claim"]
        if self.flavour.numbered and (claim["number"], claim["portIndex"]) != (
            status.get("number"),
            status.get("port"),
        ):
            yield f"the record claims number {claim['number']} at port {claim['portIndex']}"
        if self.flavour.numbered and claim["portIndex"] != self._port_index():
            yield f"the record claims port {claim['portIndex']}, the kernel has it at {self._port_index()}"
        yield from _unwitnessed(record["witness"], self.stage.settings.sysfs)
        yield from self._papers(record)
        kept = self.stage.settings.state / "resources.json"
        if found["spec"].get("resourceName", f"subfunction.dev/{found['spec']['flavour']}") not in kept.read_text(
            encoding="utf-8"
        ):
            yield f"{kept.name} does not name its resource"

    def _papers(self, record: dict[str, Any]) -> Iterator[str]:
        """Look for the files that container runtimes and Multus read: one each of what is offered, and no other."""
        files = [path for path in self._paper_files() if path.suffix == ".json"]
        found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}
        cdi = found.pop(f"subfunction.dev-sf_{record['uid']}.json", {"devices": []})
        names = [f"{cdi['kind']}={device['name']}" for device in cdi["devices"]]
        if names != [record["cdiName"]]:
            yield f"the CDI file is of {names}, the record offers {record['cdiName']}"
        edits = [device["containerEdits"] for device in cdi["devices"]]
        nodes = [node["path"] for edit in edits for node in edit.get("deviceNodes", ())]
        netdevs = [netdev["name"] for edit in edits for netdev in edit.get("netDevices", ())]
        if record["nodes"] or nodes != [node["containerPath"] for node in record["cdiNodes"]]:
            yield f"nodes: {nodes} in the CDI file, {record['nodes']} and {record['cdiNodes']} in the record"
        if netdevs != [name for name in [record["env"].get("SUBFUNCTION_NETDEV")] if name is not None]:
            yield f"the CDI file moves {netdevs}, the environment names {record['env']}"
        # mlx5, ice and mediated devices have none.
        told = [info.get("vdpa", info.get("pci")) for info in found.values()]
        known = [info.get("parent-device", info.get("pci-address")) for info in told]
        mute = ("portIndex" in record["claim"] and not record["claim"]["vdpa"]) or "uuid" in record["claim"]
        if known != ([] if mute else [record["deviceId"]]):
            yield f"device-info files: {found}"

    def _paper_files(self) -> list[Path]:
        folders = (self.stage.settings.cdi_folder, self.stage.settings.device_info_folder)
        return sorted(path for folder in folders for path in folder.glob("*"))

    def _port_index(self) -> int | None:
        kernel = self.stage.cluster.kernel
        with kernel.lock:
            functions = kernel.nic(kernel.topology.parents[0].handle).sub_functions.values()
            return next((each.port.index for each in functions if each.number == NUMBER and each.port), None)

    def _remains(self, operation: Operation, found: dict[str, Any] | None) -> Iterator[str]:
        """Look for what a deletion left: in the kernel, in its whole sysfs, in the folder, at the API server."""
        if found is not None:
            yield f"the object is still there, with finalizers {found['metadata'].get('finalizers')}"
        yield from self._kernel(operation, {})
        with self.stage.cluster.kernel.lock:
            left = set(paths(self.stage.settings.sysfs)) ^ set(self.stage.clean)
        if left:
            yield f"sysfs is not as it was: {sorted(left)[:6]}"
        folder = self.stage.cluster.records.path
        names = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
        if names:
            yield f"the records' folder holds {names}"
        if artifacts := self._paper_files():
            yield f"files are left for others to read: {[path.name for path in artifacts]}"


def _differences(wanted: Counter[str], found: Counter[str]) -> Iterator[str]:
    for line, count in (wanted - found).items():
        yield f"missing in the kernel{_times(count)}: {line}"
    for line, count in (found - wanted).items():
        yield f"too much in the kernel{_times(count)}: {line}"


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""


def _unwitnessed(witness: dict[str, Any], sysfs: Path) -> Iterator[str]:
    """Compare the record's witness with the tree, as the device plugin will."""
    for path, inode in witness["inodes"].items():
        if not (sysfs / path).exists() or (sysfs / path).stat().st_ino != inode:
            yield f"the record's witness {path} is gone, or another"
    for path, target in witness["links"].items():
        if not (sysfs / path).is_symlink() or str((sysfs / path).readlink()) != target:
            yield f"the record's witness {path} does not point at {target}"
