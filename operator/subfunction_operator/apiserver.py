"""What the agent says to the API server itself: finalizer, status, Events, and the list it checks its memory against.

kopf brings the watch; these few writes are our own, since when we write is ours to decide. Each is one request and is
not retried here: who asks knows whether it still matters.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, Final

import aiohttp
import msgspec

from subfunction.api import FINALIZER, GROUP, KIND, PLURAL, VERSION, Status, SubFunction, plain
from subfunction.errors import ApiConflict, ApiRefused, ApiUnavailable
from subfunction_operator.status import Event

_LOG = logging.getLogger("subfunction.apiserver")

_COLLECTION: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
_MERGE: Final = "application/merge-patch+json"
_JSON: Final = "application/json-patch+json"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
_CHUNK: Final = 500


@dataclasses.dataclass(frozen=True, slots=True)
class ApiServer:
    """The API server as one node's agent speaks to it."""

    session: aiohttp.ClientSession
    url: str
    node: str

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
        return SubFunction.of(await self.request("PATCH", f"{_COLLECTION}/{held.name}", {"metadata": metadata}, _MERGE))

    async def write_status(self, of: SubFunction, status: Status) -> SubFunction:
        """Replace the status; we are its only writer, so the object need not be the newest, but must be the same."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": of.uid},
            {"op": "add", "path": "/status", "value": plain(status)},
        ]
        return _understood(await self.request("PATCH", f"{_COLLECTION}/{of.name}/status", patch, _JSON))

    async def announce(self, of: SubFunction, event: Event, now: str) -> None:
        """Post an Event; those of cluster-scoped objects live in the namespace `default`."""
        source = {"component": "subfunction-agent", "host": self.node}
        involved = {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "name": of.name, "uid": of.uid}
        body = {
            "metadata": {"generateName": f"{of.name[:240]}.", "namespace": "default"},
            "involvedObject": {**involved, "resourceVersion": of.metadata.resource_version},
            "reason": event.reason,
            "message": event.message[:1024],
            "type": "Warning" if event.warning else "Normal",
            "source": source,
            "reportingComponent": source["component"],
            "reportingInstance": self.node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self.request("POST", "/api/v1/namespaces/default/events", body)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        kind: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> Any:
        """Make one request and give the JSON of its answer; `kind` is the content type of `body`.

        Raises:
            ApiRefused, ApiConflict: the server said no.
            ApiUnavailable: it cannot be reached, is out of order, or asks for patience.
        """
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Accept": "application/json", **({"Content-Type": kind} if data else {})}
        try:
            async with self.session.request(
                method, f"{self.url}{path}", data=data, headers=headers, params=parameters, timeout=_TIMEOUT
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {str(error) or repr(error)}") from error
        if response.status < 300:
            try:
                return msgspec.json.decode(raw)
            except msgspec.DecodeError as error:
                raise ApiUnavailable(f"{method} {path}: the answer is no JSON: {raw[:80]!r}") from error
        raise _refusal(f"{method} {path}", response, raw)


def _understood(answer: Any) -> SubFunction:
    try:
        return SubFunction.of(answer)
    except msgspec.ValidationError as error:
        hint = "The CRD is newer than the agent, or older: install those of one version."
        raise ApiRefused(
            f"the object is of a shape that this version does not know: {error}", status=0, hint=hint
        ) from error


def _refusal(operation: str, response: aiohttp.ClientResponse, raw: bytes) -> ApiRefused | ApiUnavailable:
    try:
        message = str(msgspec.json.decode(raw)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = raw[:200].decode(errors="replace") or response.reason or ""
    words = f"{operation}: {response.status} {message}"
    if response.status == 429 or response.status >= 500:
        after = response.headers.get("Retry-After", "")
        return ApiUnavailable(words, retry_after=float(after) if after.isdecimal() else None)
    # A 422 is none: a status that the schema refuses stays refused, and a JSON patch whose `test` of the uid fails too.
    kind = ApiConflict if response.status == 409 else ApiRefused
    hint = "The agent's role lacks this; see its ClusterRole." if response.status == 403 else ""
    return kind(words, status=response.status, hint=hint)
