"""The count of the requests of an HTTP session with the API server: verb, resource and status code."""

import re
from typing import Final

import aiohttp

from subfunction.process.metrics import ClientMetrics

_RESOURCE: Final = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/(?P<plural>[^/]+)(?P<name>/.+)?")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_ANSWER: Final = "none"


def count_requests(metrics: ClientMetrics) -> aiohttp.ClientMiddlewareType:
    """Build the middleware that counts each request of a session with the status code of its answer."""

    async def requested(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        kind = request_verb(request.method, request.url.path, watching="watch" in request.url.query)
        try:
            answer = await send(request)
        except (aiohttp.ClientError, OSError):
            metrics.record_request(kind, _NO_ANSWER)
            raise
        metrics.record_request(kind, str(answer.status))
        return answer

    return requested


def request_verb(method: str, path: str, *, watching: bool = False) -> str:
    """Return the verb of a request as a Role names it: `get list watch create update patch delete`."""
    if method != "GET":
        return _VERBS.get(method, method.lower())
    if watching:
        return "watch"
    found = _RESOURCE.fullmatch(path)
    return "list" if found and found["name"] is None else "get"
