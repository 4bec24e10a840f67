"""The controller's writes: one request each, which applies only to the object that was meant, as it was cached.

Where the server answers that the object has changed, the caller reads it again and decides again.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from subfunction.api.conditions import Condition
from subfunction.api.pool import POOL_KIND, POOL_PLURAL, PoolStatus, SubFunctionPool
from subfunction.api.subfunction import FINALIZER, GROUP, KIND, PLURAL, VERSION, ParentSpec, Phase, TemplateSpec
from subfunction.errors import ApiUnavailable
from subfunction_operator.controller.model.metadata import AppliedMetadata
from subfunction_operator.controller.model.node import ClusterNode, read_node
from subfunction_operator.controller.model.plans import Change, Creation
from subfunction_operator.controller.model.subfunction import CachedSubFunction, SubFunctionDecoder
from subfunction_operator.kube.events import Event, EventRecorder, ObjectReference
from subfunction_operator.kube.rest import JSON_PATCH, MERGE, RestClient, build_patch, ignore_not_found

_LOG = logging.getLogger(__name__)

SUBFUNCTIONS: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
POOLS: Final = f"/apis/{GROUP}/{VERSION}/{POOL_PLURAL}"
NODES: Final = "/api/v1/nodes"

_SCALARS: Final = frozenset({"mtu", "deletion_policy", "resource_name"})
"""Fields of a template that are left out where they are not set; all others are objects, which may be empty."""


@dataclasses.dataclass(frozen=True, slots=True)
class ApiWriter:
    """Sends the controller's requests; refuses to write once `allowed` returns False, as the Lease is lost then."""

    client: RestClient
    members: SubFunctionDecoder
    events: EventRecorder
    allowed: Callable[[], bool]

    async def read(self, name: str) -> CachedSubFunction | None:
        """Read one SubFunction; return None only where the server answered 404."""
        raw = await ignore_not_found(self._raw("GET", f"{SUBFUNCTIONS}/{name}"))
        return None if raw is None else self._decode(raw)

    async def read_node(self, name: str) -> ClusterNode | None:
        """Read one Node; return None only where the server answered 404."""
        raw = await ignore_not_found(self._raw("GET", f"{NODES}/{name}"))
        return None if raw is None else read_node(raw)

    async def create(self, pool: SubFunctionPool, made: Creation) -> CachedSubFunction:
        """Create a sub-function of a pool.

        Raises:
            ApiConflict: one of that name exists.
            ApiRefused: the server rejected it.
        """
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": POOL_KIND,
            "name": pool.name,
            "uid": pool.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        marks = AppliedMetadata.of(pool)
        metadata: dict[str, Any] = {"name": made.name, "labels": dict(marks.labels), "ownerReferences": [owner]}
        if marks.annotations:
            metadata["annotations"] = dict(marks.annotations)
        spec = _plain(made.spec) | {"nodeName": made.node, "parent": _plain(ParentSpec(device=made.parent))}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}
        return self._decode(await self._raw("POST", SUBFUNCTIONS, body))

    async def delete(self, member: CachedSubFunction) -> CachedSubFunction | None:
        """Delete one if it is unchanged; return what is left of it while it has a finalizer, else None."""
        body = {"preconditions": {"uid": member.uid, "resourceVersion": member.version}}
        raw = await ignore_not_found(self._raw("DELETE", f"{SUBFUNCTIONS}/{member.name}", body))
        if raw is None or msgspec.json.decode(raw, type=_Kind).kind == "Status":
            return None
        return self._decode(raw)

    async def change(self, change: Change) -> CachedSubFunction:
        """Patch one in place to what the template says."""
        member, fields = change.member, msgspec.structs.fields(TemplateSpec)
        wanted = _plain(change.spec)
        patch: list[dict[str, Any]] = []
        for field in fields:
            if getattr(member.spec, field.name) == getattr(change.spec, field.name):
                continue
            path = f"/spec/{field.encode_name}"
            if field.encode_name in wanted or field.name not in _SCALARS:
                patch.append({"op": "add", "path": path, "value": wanted.get(field.encode_name, {})})
            else:
                patch.append({"op": "remove", "path": path})
        for path, had, wants in (
            ("/metadata/labels", member.labels, change.marks.labels),
            ("/metadata/annotations", member.annotations, change.marks.annotations),
        ):
            if wants != had:
                patch.append({"op": "add", "path": path, "value": dict(wants)})
        return await self._patch(member, "", patch)

    async def place(self, member: CachedSubFunction, node: str) -> CachedSubFunction:
        """Set `spec.nodeName` of one that has none."""
        return await self._patch(member, "", [{"op": "add", "path": "/spec/nodeName", "value": node}])

    async def update_unplaced_status(
        self, member: CachedSubFunction, conditions: tuple[Condition, ...]
    ) -> CachedSubFunction:
        """Write the status of one without a node, since no agent writes it."""
        status = {
            "observedGeneration": member.generation,
            "phase": Phase.PENDING,
            "conditions": msgspec.to_builtins(conditions),
        }
        return await self._patch(member, "/status", [{"op": "add", "path": "/status", "value": status}])

    async def remove_finalizer(self, member: CachedSubFunction) -> CachedSubFunction | None:
        """Remove the agent's finalizer; return what is left of the object, None once it is deleted."""
        left = [each for each in member.finalizers if each != FINALIZER]
        metadata = {"uid": member.uid, "resourceVersion": member.version, "finalizers": left}
        raw = await ignore_not_found(self._raw("PATCH", f"{SUBFUNCTIONS}/{member.name}", {"metadata": metadata}, MERGE))
        return None if raw is None or not left else self._decode(raw)

    async def update_pool_status(self, pool: SubFunctionPool, status: PoolStatus) -> SubFunctionPool:
        """Replace the status of a pool; tests its uid but not its version, since the controller is the only writer."""
        patch = build_patch(pool.uid, "/status", msgspec.to_builtins(status))
        raw = await self._raw("PATCH", f"{POOLS}/{pool.name}/status", patch, JSON_PATCH)
        return msgspec.json.decode(raw, type=SubFunctionPool)

    async def record_event(self, kind: str, of: CachedSubFunction | SubFunctionPool, event: Event) -> None:
        """Post an Event about an object; do nothing without the Lease."""
        if self.allowed():
            await self.events.record(ObjectReference(kind, of.name, of.uid, of.version), event)

    async def _patch(self, member: CachedSubFunction, below: str, patch: list[dict[str, Any]]) -> CachedSubFunction:
        tests = [
            {"op": "test", "path": "/metadata/uid", "value": member.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": member.version},
        ]
        raw = await self._raw("PATCH", f"{SUBFUNCTIONS}/{member.name}{below}", [*tests, *patch], JSON_PATCH)
        return self._decode(raw)

    async def _raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        if method != "GET":
            self._require_leader()
        return await self.client.request_raw(method, path, body, kind)

    def _require_leader(self) -> None:
        if not self.allowed():
            raise ApiUnavailable("the lease is not ours any more, and nothing is written")

    def _decode(self, raw: bytes) -> CachedSubFunction:
        try:
            return self.members.read(raw)
        except msgspec.DecodeError as error:
            raise ApiUnavailable(f"an answer that is no SubFunction as we know it: {error}") from error


class _Kind(msgspec.Struct):
    kind: str


def _plain(spec: TemplateSpec | ParentSpec) -> dict[str, Any]:
    built = msgspec.to_builtins(spec)
    if not isinstance(built, dict):
        raise TypeError(f"a spec became {built!r}")
    return built
