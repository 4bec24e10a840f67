"""The agent's requests for SubFunctions: finalizer, status, and the LIST that its cache is compared with.

kopf only watches; these requests are our own, since the agent decides when to write.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from subfunction.api.subfunction import FINALIZER, GROUP, PLURAL, VERSION, Status, SubFunction, to_json
from subfunction.errors import ApiRefused
from subfunction_operator.kube.rest import JSON_PATCH, MERGE, RestClient, build_patch, ignore_not_found

_LOG = logging.getLogger(__name__)

_COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
_CHUNK: Final = 500


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectList:
    """The answer to a LIST: the objects, the list's resourceVersion, and the uids of objects that cannot be decoded.

    An object that cannot be decoded exists all the same: it is left alone, and not taken for deleted.
    """

    items: tuple[SubFunction, ...]
    version: str
    undecodable: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class SubFunctionClient(RestClient):
    """Requests of one node's agent to the API server, each method one request (LIST: one a page)."""

    node: str

    async def get(self, name: str) -> SubFunction | None:
        """Return one object (`kubectl get sf NAME`), None only where the server answered 404."""
        found = await ignore_not_found(self.request("GET", f"{_COLLECTION}/{name}"))
        return None if found is None else _decode(found)

    async def list(self) -> ObjectList:
        """List this node's objects (`kubectl get sf --field-selector spec.nodeName=NODE`), in pages."""
        found: list[SubFunction] = []
        undecodable: set[str] = set()
        parameters = {"fieldSelector": f"spec.nodeName={self.node}", "limit": str(_CHUNK)}
        while True:
            answer = await self.request("GET", _COLLECTION, parameters=parameters)
            for item in answer.get("items") or ():
                try:
                    found.append(SubFunction.of(item))
                except msgspec.ValidationError as error:
                    _LOG.error("%s is of a shape that this version does not know: %s", item["metadata"]["name"], error)
                    undecodable.add(item["metadata"]["uid"])
            metadata = answer.get("metadata") or {}
            if not metadata.get("continue"):
                return ObjectList(tuple(found), metadata.get("resourceVersion", ""), frozenset(undecodable))
            parameters["continue"] = metadata["continue"]

    async def add_finalizer(self, known: SubFunction) -> SubFunction:
        """Add our finalizer, if the object still has the version that we know, and return the object with it.

        Raises:
            ApiConflict: the object was changed meanwhile.
        """
        return await self._patch_finalizers(known, (*known.metadata.finalizers, FINALIZER))

    async def remove_finalizer(self, known: SubFunction) -> SubFunction:
        """Remove our finalizer, if the object still has the version that we know.

        The server deletes an object that is being deleted as soon as its last finalizer is removed.

        Raises:
            ApiConflict: the object was changed meanwhile.
        """
        return await self._patch_finalizers(
            known, tuple(each for each in known.metadata.finalizers if each != FINALIZER)
        )

    async def _patch_finalizers(self, known: SubFunction, finalizers: Sequence[str]) -> SubFunction:
        metadata = {
            "resourceVersion": known.metadata.resource_version,
            "uid": known.uid,
            "finalizers": list(finalizers),
        }
        return SubFunction.of(await self.request("PATCH", f"{_COLLECTION}/{known.name}", {"metadata": metadata}, MERGE))

    async def update_status(self, known: SubFunction, status: Status) -> SubFunction:
        """Replace the status; we are its only writer, so that only the uid must match, not the version."""
        patch = build_patch(known.uid, "/status", to_json(status))
        return _decode(await self.request("PATCH", f"{_COLLECTION}/{known.name}/status", patch, JSON_PATCH))


def _decode(answer: Any) -> SubFunction:
    try:
        return SubFunction.of(answer)
    except msgspec.ValidationError as error:
        hint = "The CRD is newer than the agent, or older: install those of one version."
        raise ApiRefused(
            f"the object is of a shape that this version does not know: {error}", status=0, hint=hint
        ) from error
