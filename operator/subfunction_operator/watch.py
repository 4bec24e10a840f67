"""kopf: the watch, its authentication and its back-off, in a thread with a loop of its own, restarted for ever.

kopf ends its operator on several faults of a watch (an HTTP 410, an ERROR event of another code), and at its end
cancels what runs in its loop. So it has its own: what it sees crosses over to the agent's loop, and nothing of the
agent's ends with it. The guards below are what a node needs of it; `docs/decisions/` has the figures.
"""

import asyncio
import contextlib
import itertools
import logging
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import aiohttp
import msgspec

from subfunction.api import GROUP, PLURAL, VERSION, SubFunction
from subfunction.metrics import ClientMetrics
from subfunction.probes import Heartbeat
from subfunction_operator.credentials import Credentials
from subfunction_operator.hidden_clients import Identity, kopf
from subfunction_operator.traffic import counted

_LOG = logging.getLogger("subfunction.watch")

_RESTART_SECONDS: Final = 1.0
_LONGEST_UNSERVED: Final = 10.0
_WATCH_SECONDS: Final = 300
"""How long one watch lasts; an integer, since kopf sends it as it is and the server parses no fraction."""


class EndlessBackoff:
    """Pauses between tries of one request, in seconds, without end.

    With kopf's own finite ones, an object whose request fails until they are used up is dropped for good: after 75 s
    without an API server 86 of 200 stayed unhandled (measured). It is iterated anew for each request.
    """

    def __iter__(self) -> Iterator[float]:
        """Begin quickly, go on at a pace that an API server coming back can bear."""
        return itertools.chain((0.5, 1.0, 1.0), itertools.repeat(2.0))


Delivered = Callable[[SubFunction, bool], None]
"""Hears of each object that is, changed or (True) is gone."""


class Watch:
    """The objects of one node, as they come and go."""

    def __init__(
        self,
        credentials: Credentials,
        node: str,
        delivered: Delivered,
        reopened: Callable[[], None],
        *,
        metrics: ClientMetrics,
    ) -> None:
        self.heartbeat = Heartbeat("watch")
        self._metrics = metrics
        self._credentials = credentials
        self._node = node
        self._delivered = delivered
        self._reopened = reopened
        self._agent_loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._cancel: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Stop, and wait a moment for kopf to close its connections."""
        self._stop.set()
        # Cancelled, kopf ends at once; asked by a flag, it gives requests in flight five seconds (an API server away).
        if (cancel := self._cancel) is not None:
            cancel()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._operate())
            except asyncio.CancelledError:
                if self._stop.is_set():
                    return
                _LOG.warning("the watch was cancelled from within and is opened again")
            except Exception as error:  # noqa: BLE001  # whatever ended kopf, the watch goes on
                _LOG.warning("the watch ended and is opened again: %s", error)
            if not self._stop.wait(_RESTART_SECONDS):
                self._metrics.watch_restarted()
                self._agent_loop.call_soon_threadsafe(self._reopened)

    def _cancellation(self) -> Callable[[], object]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            # A loop that is closed has nothing left to end.
            with contextlib.suppress(RuntimeError):
                if task is not None:
                    loop.call_soon_threadsafe(task.cancel)

        return cancel

    async def _operate(self) -> None:
        self._cancel = self._cancellation()
        if self._stop.is_set():
            return
        async with self._credentials.session(self._relisting(), counted(self._metrics)) as session:
            beating = asyncio.create_task(self.heartbeat.beating())
            try:
                await self._until_served(session)
                await kopf.operator(
                    registry=self._registry(
                        kopf.AiohttpSession(server=self._credentials.server, aiohttp_session=session)
                    ),
                    settings=self._settings(),
                    clusterwide=True,
                    standalone=True,
                    # Else it asks who runs it, and fails where no /etc/passwd names uid 0 (an image without a system).
                    identity=Identity(self._node),
                )
            finally:
                beating.cancel()

    async def _until_served(self, session: aiohttp.ClientSession) -> None:
        """Wait for the kind: kopf looks once, and one that is not served then (or was deleted) it never watches."""
        pause = 0.0
        while not await self._served(session):
            if not pause:
                _LOG.warning("%s.%s is not served; it is watched once it is (kubectl get crd)", PLURAL, GROUP)
            # Every agent of the cluster asks.
            pause = min(pause + _RESTART_SECONDS, _LONGEST_UNSERVED)
            await asyncio.sleep(pause)

    async def _served(self, session: aiohttp.ClientSession) -> bool:
        """Tell whether the server has the kind; without a clear answer kopf is left to try."""
        try:
            async with session.get(f"{self._credentials.server}/apis/{GROUP}/{VERSION}") as answer:
                kinds = await answer.json() if answer.status == 200 else {"resources": []}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return True
        served = any(kind["name"] == PLURAL for kind in kinds["resources"])
        return served or answer.status not in {200, 404}

    def _relisting(self) -> aiohttp.ClientMiddlewareType:
        """Notice each LIST but the first: after a 410 kopf lists anew, and tells nobody what was deleted meanwhile."""
        lists = itertools.count()

        async def noticed(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            answer = await send(request)
            is_list = request.url.path.endswith(f"/{PLURAL}") and "watch" not in request.url.query
            if is_list and answer.status == 200 and next(lists) > 0:
                self._agent_loop.call_soon_threadsafe(self._reopened)
            return answer

        return noticed

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        # A tuple: 'group/plural' silently matches nothing, and the whole cluster would be watched.
        settings.watching.field_selectors[GROUP, VERSION, PLURAL] = f"spec.nodeName={self._node}"
        settings.watching.server_timeout = _WATCH_SECONDS
        settings.networking.error_backoffs = EndlessBackoff()
        # After a patch that changes nothing kopf holds an object back this long; ours compare first, and are our own.
        settings.persistence.consistency_timeout = 1.0
        settings.scanning.disabled = True
        settings.posting.enabled = False
        # Else a kopf that failed would kill the process ten minutes later.
        settings.process.ultimate_exiting_timeout = None
        return settings

    def _registry(self, session: kopf.AiohttpSession) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            return session

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002  # kopf's own name
            self._deliver(dict(body), deleted=type == "DELETED")

        return registry

    def _deliver(self, body: dict[str, Any], *, deleted: bool) -> None:
        try:
            found = SubFunction.of(body)
        except msgspec.ValidationError as error:
            name = body.get("metadata", {}).get("name")
            _LOG.error("SubFunction %s is not of the shape that the CRD promises, and is left alone: %s", name, error)
            return
        self._agent_loop.call_soon_threadsafe(self._delivered, found, deleted)
