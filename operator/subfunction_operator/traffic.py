"""What a program asks of the API server, counted."""

import re
from typing import Final

import aiohttp

from subfunction.metrics import ClientMetrics

_RESOURCE: Final = re.compile(r"/(?:api/v1|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+)?/(?P<plural>[^/]+)(?P<name>/.+)?")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NO_ANSWER: Final = "none"


def counted(metrics: ClientMetrics) -> aiohttp.ClientMiddlewareType:
    """Count each request of a session and how it was answered."""

    async def requested(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        kind = verb(request.method, request.url.path, watching="watch" in request.url.query)
        try:
            answer = await send(request)
        except (aiohttp.ClientError, OSError):
            metrics.requested(kind, _NO_ANSWER)
            raise
        metrics.requested(kind, str(answer.status))
        return answer

    return requested


def verb(method: str, path: str, *, watching: bool = False) -> str:
    """Name a request as a Role does: `get list watch create update patch delete`."""
    if method != "GET":
        return _VERBS.get(method, method.lower())
    if watching:
        return "watch"
    found = _RESOURCE.fullmatch(path)
    return "list" if found and found["name"] is None else "get"
