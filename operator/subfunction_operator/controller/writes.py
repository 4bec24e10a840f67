"""What the controller writes: each one request, and each hits only the object that was meant, as it was known.

Where a server says that the object is another one by now, the caller reads it again and thinks again.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from subfunction.api import FINALIZER, GROUP, KIND, PLURAL, VERSION, Condition, ParentSpec, Phase, TemplateSpec
from subfunction.api_pool import POOL_KIND, POOL_PLURAL, PoolStatus, SubFunctionPool
from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction_operator.controller.clusternode import ClusterNode, read_node
from subfunction_operator.controller.marks import Marks
from subfunction_operator.controller.member import Member, Members
from subfunction_operator.controller.rollout import Change, Creation
from subfunction_operator.endpoint import JSON_PATCH, MERGE, Endpoint, Involved, Reporter
from subfunction_operator.event import Event

_LOG = logging.getLogger("subfunction.controller")

SUBFUNCTIONS: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
POOLS: Final = f"/apis/{GROUP}/{VERSION}/{POOL_PLURAL}"
NODES: Final = "/api/v1/nodes"

_SCALARS: Final = frozenset({"mtu", "deletion_policy", "resource_name"})
"""Fields of a template that are left out where they are not said; all others are blocks, which may be empty."""


@dataclasses.dataclass(frozen=True, slots=True)
class Writes:
    """The writes, for as long as `allowed` says that they are ours to make."""

    endpoint: Endpoint
    members: Members
    reporter: Reporter
    allowed: Callable[[], bool]

    async def read(self, name: str) -> Member | None:
        """Read one SubFunction; None only where the server answered that there is none."""
        raw = await self._if_there("GET", f"{SUBFUNCTIONS}/{name}")
        return None if raw is None else self._known(raw)

    async def read_node(self, name: str) -> ClusterNode | None:
        """Read one Node; None only where the server answered that there is none."""
        raw = await self._if_there("GET", f"{NODES}/{name}")
        return None if raw is None else read_node(raw)

    async def create(self, pool: SubFunctionPool, made: Creation) -> Member:
        """Make a sub-function of a pool.

        Raises:
            ApiConflict: there is one of that name.
            ApiRefused: the server would not have it.
        """
        owner = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": POOL_KIND,
            "name": pool.name,
            "uid": pool.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        marks = Marks.of(pool)
        metadata: dict[str, Any] = {"name": made.name, "labels": dict(marks.labels), "ownerReferences": [owner]}
        if marks.annotations:
            metadata["annotations"] = dict(marks.annotations)
        spec = _plain(made.spec) | {"nodeName": made.node, "parent": _plain(ParentSpec(device=made.parent))}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}
        return self._known(await self._raw("POST", SUBFUNCTIONS, body))

    async def delete(self, member: Member) -> Member | None:
        """Delete one, if it is still as it was known; gives what is left of it while a finalizer holds it."""
        body = {"preconditions": {"uid": member.uid, "resourceVersion": member.version}}
        raw = await self._if_there("DELETE", f"{SUBFUNCTIONS}/{member.name}", body)
        if raw is None or msgspec.json.decode(raw, type=_Kind).kind == "Status":
            return None
        return self._known(raw)

    async def change(self, change: Change) -> Member:
        """Bring one to what the template says, in place."""
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
        return await self._patched(member, "", patch)

    async def place(self, member: Member, node: str) -> Member:
        """Set the node of one that has none."""
        return await self._patched(member, "", [{"op": "add", "path": "/spec/nodeName", "value": node}])

    async def tell_unplaced(self, member: Member, conditions: tuple[Condition, ...]) -> Member:
        """Write the status of one that has no node, and so no agent that would write it."""
        status = {
            "observedGeneration": member.generation,
            "phase": Phase.PENDING,
            "conditions": msgspec.to_builtins(conditions),
        }
        return await self._patched(member, "/status", [{"op": "add", "path": "/status", "value": status}])

    async def release(self, member: Member) -> Member | None:
        """Take the agent's finalizer off."""
        left = [each for each in member.finalizers if each != FINALIZER]
        metadata = {"uid": member.uid, "resourceVersion": member.version, "finalizers": left}
        raw = await self._if_there("PATCH", f"{SUBFUNCTIONS}/{member.name}", {"metadata": metadata}, MERGE)
        return None if raw is None or not left else self._known(raw)

    async def write_pool(self, pool: SubFunctionPool, status: PoolStatus) -> SubFunctionPool:
        """Replace the status of a pool; we are its only writer, so it need not be the newest, but must be the same."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": pool.uid},
            {"op": "add", "path": "/status", "value": msgspec.to_builtins(status)},
        ]
        raw = await self._raw("PATCH", f"{POOLS}/{pool.name}/status", patch, JSON_PATCH)
        return msgspec.json.decode(raw, type=SubFunctionPool)

    async def announce(self, kind: str, of: Member | SubFunctionPool, event: Event) -> None:
        """Post an Event, as well as that can be done."""
        try:
            self._ours()
            await self.endpoint.post_event(Involved(kind, of.name, of.uid, of.version), event, self.reporter)
        except SubFunctionError as error:
            # The condition has said it already; an Event is the second place.
            _LOG.warning("%s: %s: %s (no Event: %s)", of.name, event.reason, event.message, error)

    async def _patched(self, member: Member, below: str, patch: list[dict[str, Any]]) -> Member:
        tests = [
            {"op": "test", "path": "/metadata/uid", "value": member.uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": member.version},
        ]
        raw = await self._raw("PATCH", f"{SUBFUNCTIONS}/{member.name}{below}", [*tests, *patch], JSON_PATCH)
        return self._known(raw)

    async def _if_there(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes | None:
        try:
            return await self._raw(method, path, body, kind)
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise

    async def _raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        if method != "GET":
            self._ours()
        return await self.endpoint.raw(method, path, body, kind)

    def _ours(self) -> None:
        if not self.allowed():
            raise ApiUnavailable("the lease is not ours any more, and nothing is written")

    def _known(self, raw: bytes) -> Member:
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
