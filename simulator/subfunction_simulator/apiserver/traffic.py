"""The traffic is the seam for tests, benches and demos: it notes what was asked, and orders faults."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from subfunction_simulator.apiserver.status import RefusedError

REMEMBERED: Final = 10_000
"""How many requests are remembered, the newest; the counts know of all."""
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request is named as RBAC names it."""

    verb: str
    resource: str
    """A plural name; a path for what is no resource, as `/version`."""
    subresource: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


class OpenWatch(Protocol):
    """An open watch can be cut, failed and stalled."""

    @property
    def plural(self) -> str:
        """Give the plural name of what is watched."""

    def cut(self) -> None:
        """End it by cutting the connection."""

    def fail(self, failure: RefusedError) -> None:
        """End it by an ERROR event."""

    def stall(self, *, stalled: bool) -> None:
        """Let it fall silent, or go on."""


@dataclass(slots=True)
class Fault:
    """A fault says what the next requests of a sort are answered with."""

    code: int
    left: int
    verb: str
    resource: str
    retry_after: int | None

    def hits(self, asked: Asked) -> bool:
        """Say whether it is meant for a request."""
        return self.left > 0 and self.verb in ("", asked.verb) and self.resource in ("", asked.resource)


class SeveredError(Exception):
    """The connection is to break off, without an answer."""


@dataclass(slots=True)
class Severance:
    """A severance says which request's connection breaks off, and when."""

    wanted: Callable[[Asked], bool]
    passing: int
    """How many that are wanted pass first."""
    is_after: bool
    """Whether the request is carried out, and only its answer lost."""
    struck: Callable[[], None]
    chosen: Asked | None = None


def refusal(code: int, retry_after: int | None = None) -> RefusedError:
    """Make an injected failure of some code."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return RefusedError(code, _REASONS.get(code, ""), f"{HTTPStatus(code).phrase} (injected)", headers=headers)


class Traffic:
    """The traffic is what goes in and out of one server."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """How often each (verb, resource, subresource) was asked, refused ones too."""
        self.clients: set[tuple[str, str, str]] = set()
        """Who asked for what: the product of the User-Agent, verb, and resource with its subresource."""
        self.requests: deque[Asked] = deque(maxlen=REMEMBERED)
        self.streams: set[OpenWatch] = set()
        """The watches that are open."""
        self._faults: list[Fault] = []
        self._severance: Severance | None = None

    def note(self, asked: Asked, user_agent: str = "") -> None:
        """Count a request; raises RefusedError where a fault is meant for it."""
        resource = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        self.clients.add((user_agent.partition("/")[0], asked.verb, resource))
        self.counts[asked.verb, asked.resource, asked.subresource] += 1
        self.requests.append(asked)
        self._sever(asked)
        fault = next((fault for fault in self._faults if fault.hits(asked)), None)
        if fault:
            fault.left -= 1
            raise refusal(fault.code, fault.retry_after)

    def finish(self, asked: Asked) -> None:
        """Hear that a request is done, before its answer is sent; raises SeveredError where that is to be lost."""
        if self._severance is not None and self._severance.chosen is asked:
            self._strike(self._severance)

    def sever(self, wanted: Callable[[Asked], bool], passing: int, *, after: bool, struck: Callable[[], None]) -> None:
        """Break off the connection of one request, before or after it is carried out, and tell (in this thread)."""
        self._severance = Severance(wanted, passing, after, struck)

    def _sever(self, asked: Asked) -> None:
        severance = self._severance
        if severance is None or severance.chosen is not None or not severance.wanted(asked):
            return
        severance.passing -= 1
        if severance.passing < 0:
            severance.chosen = asked
            if not severance.is_after:
                self._strike(severance)

    def _strike(self, severance: Severance) -> None:
        self._severance = None
        severance.struck()
        raise SeveredError

    def answer_next(
        self, count: int, code: int, *, verb: str = "", resource: str = "", retry_after: int | None = None
    ) -> None:
        """Answer the next `count` requests (of a verb, of a resource) with a failure; `retry_after` is in seconds."""
        self._faults.append(Fault(code, count, verb, resource, retry_after))

    def heal(self) -> None:
        """Forget all faults and let stalled watches go on."""
        self._faults.clear()
        self._severance = None
        for stream in self.streams:
            stream.stall(stalled=False)

    def drop_watches(self, resource: str = "") -> None:
        """Cut the connection of every open watch (of a resource), as a dying load balancer does."""
        for stream in self._open(resource):
            stream.cut()

    def fail_watches(self, code: int, resource: str = "") -> None:
        """End every open watch (of a resource) with an ERROR event."""
        for stream in self._open(resource):
            stream.fail(refusal(code))

    def stall_watches(self, resource: str = "") -> None:
        """Let every open watch (of a resource) fall silent without ending: no event, no bookmark, no timeout."""
        for stream in self._open(resource):
            stream.stall(stalled=True)

    def _open(self, resource: str) -> Iterator[OpenWatch]:
        return (stream for stream in tuple(self.streams) if resource in ("", stream.plural))
