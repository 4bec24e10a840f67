"""What the agent says to the API server itself: finalizer, status, Events, and the list it checks its memory against.

kopf brings the watch; these few writes are our own, since when we write is ours to decide.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from subfunction.api import FINALIZER, GROUP, KIND, PLURAL, VERSION, Status, SubFunction, plain
from subfunction.errors import ApiRefused
from subfunction_operator.endpoint import JSON_PATCH, MERGE, Endpoint, Involved, Reporter
from subfunction_operator.event import Event

_LOG = logging.getLogger("subfunction.apiserver")

_COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
_CHUNK: Final = 500


@dataclasses.dataclass(frozen=True, slots=True)
class ApiServer(Endpoint):
    """The API server as one node's agent speaks to it."""

    node: str

    async def announce(self, of: SubFunction, event: Event) -> None:
        """Post an Event."""
        involved = Involved(KIND, of.name, of.uid, of.metadata.resource_version)
        await self.post_event(involved, event, Reporter("subfunction-agent", self.node))

    async def get(self, name: str) -> SubFunction | None:
        """Read one object (`kubectl get sf NAME`); None only where the server answered that there is none."""
        try:
            return _understood(await self.request("GET", f"{_COLLECTION}/{name}"))
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise

    async def list(self) -> tuple[list[SubFunction], frozenset[str]]:
        """Read this node's objects (`kubectl get sf --field-selector spec.nodeName=NODE`), in chunks.

        The second part are the uids of those that are not of the shape we know: they exist, and are left alone.
        """
        found: list[SubFunction] = []
        strange: set[str] = set()
        parameters = {"fieldSelector": f"spec.nodeName={self.node}", "limit": str(_CHUNK)}
        while True:
            answer = await self.request("GET", _COLLECTION, parameters=parameters)
            for item in answer.get("items") or ():
                try:
                    found.append(SubFunction.of(item))
                except msgspec.ValidationError as error:
                    _LOG.error("%s is of a shape that this version does not know: %s", item["metadata"]["name"], error)
                    strange.add(item["metadata"]["uid"])
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return found, frozenset(strange)
            parameters["continue"] = token

    async def hold(self, held: SubFunction) -> SubFunction:
        """Set our finalizer, if the object is still the one we know.

        Raises:
            ApiConflict: somebody changed it meanwhile.
        """
        return await self._finalize(held, (*held.metadata.finalizers, FINALIZER))

    async def release(self, held: SubFunction) -> SubFunction:
        """Take our finalizer off, if the object is still the one we know; with the last one the server forgets it."""
        return await self._finalize(held, tuple(each for each in held.metadata.finalizers if each != FINALIZER))

    async def _finalize(self, held: SubFunction, finalizers: Sequence[str]) -> SubFunction:
        metadata = {"resourceVersion": held.metadata.resource_version, "uid": held.uid, "finalizers": list(finalizers)}
        return SubFunction.of(await self.request("PATCH", f"{_COLLECTION}/{held.name}", {"metadata": metadata}, MERGE))

    async def write_status(self, of: SubFunction, status: Status) -> SubFunction:
        """Replace the status; we are its only writer, so the object need not be the newest, but must be the same."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": of.uid},
            {"op": "add", "path": "/status", "value": plain(status)},
        ]
        return _understood(await self.request("PATCH", f"{_COLLECTION}/{of.name}/status", patch, JSON_PATCH))


def _understood(answer: Any) -> SubFunction:
    try:
        return SubFunction.of(answer)
    except msgspec.ValidationError as error:
        hint = "The CRD is newer than the agent, or older: install those of one version."
        raise ApiRefused(
            f"the object is of a shape that this version does not know: {error}", status=0, hint=hint
        ) from error
