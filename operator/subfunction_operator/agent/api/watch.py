"""Watches this node's SubFunctions with kopf, in a thread with its own event loop, restarted for ever.

kopf is used as a watch only, with its back-off. It ends its operator on several faults of a watch (an HTTP 410, an
ERROR event of another code), and then cancels everything in its event loop. So it has one of its own, and hands each
object over to the agent's loop: nothing of the agent ends with kopf. `docs/decisions/` has the figures behind the
settings below.

After a 410 kopf lists anew, by itself or because it is started again. It reports what that LIST has, and no deletion
of what it lacks. So `on_reopen` is called each time, and the Relister (`relist.py`) makes a LIST of its own, which
replaces the whole cache: only that shows which objects were deleted meanwhile. After a mere break of the connection
kopf goes on from the last version, and deletions arrive as events.
"""

import asyncio
import contextlib
import dataclasses
import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, Final, Self

import aiohttp
import msgspec

from subfunction.api.subfunction import GROUP, PLURAL, VERSION, SubFunction
from subfunction.process.metrics import ClientMetrics
from subfunction.process.probes import Heartbeat
from subfunction_operator.kube.backoff import RequestBackoff, spread
from subfunction_operator.kube.credentials import Credentials
from subfunction_operator.kube.request_metrics import count_requests


@contextlib.contextmanager
def _without(*clients: str) -> Iterator[None]:
    """Let the import of these packages fail as if they were not installed (None in `sys.modules`)."""
    modules: dict[str, Any] = sys.modules
    loaded = {name: modules[name] for name in clients if name in modules}
    modules.update(dict.fromkeys(clients))
    try:
        yield
    finally:
        for name in clients:
            del modules[name]
        modules.update(loaded)


# kopf imports each of these that is installed, to log in with it. We log in ourselves, and `kubernetes`, which a
# kubeconfig needs, would cost the agent in a pod 23 MiB and about a second.
with _without("kubernetes", "kubernetes_asyncio", "pykube"):
    import kopf

    # The type of an argument of `kopf.operator`; kopf does not export it.
    from kopf._core.engines.peering import Identity

_LOG = logging.getLogger(__name__)

_RESTART_SECONDS: Final = 1.0
_LONGEST_UNSERVED: Final = 10.0
_WATCH_SECONDS: Final = 300
"""How long one watch lasts; an integer, since kopf sends the number as it is and the server parses no fraction."""


OnObject = Callable[[SubFunction, bool], None]
"""Called with each object that exists or changed, and with True for one that is gone."""


@dataclasses.dataclass(frozen=True, slots=True)
class WatchHandlers:
    """Called by the watch in the agent's event loop: for each object, and after a break that may hide a deletion.

    After an API server has lost its history every agent lists anew: each at its own time within `spread` seconds.
    """

    on_object: OnObject
    on_reopen: Callable[[], None]
    spread: float = 0.0


class Watch:
    """Watches the objects of one node; the handlers run in the event loop that this is constructed in."""

    def __init__(self, credentials: Credentials, node: str, handlers: WatchHandlers, *, metrics: ClientMetrics) -> None:
        self.heartbeat = Heartbeat("watch")
        self._metrics = metrics
        self._credentials = credentials
        self._node = node
        self._handlers = handlers
        self._agent_loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._cancel: Callable[[], object] | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """Stop, and wait up to 5 s for kopf to close its connections."""
        self._stop.set()
        # By cancellation kopf ends at once; by its stop flag it waits five seconds for requests in flight.
        if (cancel := self._cancel) is not None:
            cancel()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._run_kopf())
            except asyncio.CancelledError:
                if self._stop.is_set():
                    return
                _LOG.warning("the watch was cancelled from within and is opened again")
            except Exception as error:  # noqa: BLE001  # whatever ended kopf, the watch goes on
                _LOG.warning("the watch ended and is opened again: %s", error)
            if not self._stop.wait(_RESTART_SECONDS):
                self._metrics.record_watch_restart()
                self._agent_loop.call_soon_threadsafe(self._handlers.on_reopen)

    def _make_cancel(self) -> Callable[[], object]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def cancel() -> None:
            # RuntimeError: the loop is closed, and its tasks have ended with it.
            with contextlib.suppress(RuntimeError):
                if task is not None:
                    loop.call_soon_threadsafe(task.cancel)

        return cancel

    async def _run_kopf(self) -> None:
        self._cancel = self._make_cancel()
        if self._stop.is_set():
            return
        async with self._credentials.session(self._notice_relists(), count_requests(self._metrics)) as session:
            beating = asyncio.create_task(self.heartbeat.beat())
            try:
                await self._wait_until_served(session)
                await kopf.operator(
                    registry=self._registry(
                        kopf.AiohttpSession(server=self._credentials.server, aiohttp_session=session)
                    ),
                    settings=self._settings(),
                    clusterwide=True,
                    standalone=True,
                    # Else kopf looks up the user name, and fails where no /etc/passwd has uid 0 (a bare image).
                    identity=Identity(self._node),
                )
            finally:
                beating.cancel()

    async def _wait_until_served(self, session: aiohttp.ClientSession) -> None:
        """Wait until the kind is served: kopf looks once, and never watches a kind that is not served then."""
        pause = 0.0
        while not await self._is_served(session):
            if not pause:
                _LOG.warning("%s.%s is not served; it is watched once it is (kubectl get crd)", PLURAL, GROUP)
            # The pause grows, since every agent of the cluster asks.
            pause = min(pause + _RESTART_SECONDS, _LONGEST_UNSERVED)
            await asyncio.sleep(pause)

    async def _is_served(self, session: aiohttp.ClientSession) -> bool:
        """Return whether the server has the kind; also true without a clear answer, so that kopf tries."""
        try:
            async with session.get(f"{self._credentials.server}/apis/{GROUP}/{VERSION}") as answer:
                kinds = await answer.json() if answer.status == 200 else {"resources": []}
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return True
        served = any(kind["name"] == PLURAL for kind in kinds["resources"])
        return served or answer.status not in {200, 404}

    def _notice_relists(self) -> aiohttp.ClientMiddlewareType:
        """Return a middleware that delays and reports each LIST but the first: its deletions are not seen otherwise."""
        listed = False

        async def noticed(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            nonlocal listed
            is_list = request.url.path.endswith(f"/{PLURAL}") and "watch" not in request.url.query
            again = is_list and listed
            if again:
                await spread(self._handlers.spread)
            answer = await send(request)
            if again and answer.status == 200:
                self._agent_loop.call_soon_threadsafe(self._handlers.on_reopen)
            listed = listed or (is_list and answer.status == 200)
            return answer

        return noticed

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        # The key is a tuple: the string 'group/plural' matches nothing, and the whole cluster would be watched.
        settings.watching.field_selectors[GROUP, VERSION, PLURAL] = f"spec.nodeName={self._node}"
        settings.watching.server_timeout = _WATCH_SECONDS
        settings.networking.error_backoffs = RequestBackoff()
        # kopf delays an object this long after a patch of its own that changed nothing; our patches are not its own.
        settings.persistence.consistency_timeout = 1.0
        settings.scanning.disabled = True
        settings.posting.enabled = False
        # Else kopf kills the process ten minutes after it has failed.
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
        self._agent_loop.call_soon_threadsafe(self._handlers.on_object, found, deleted)
