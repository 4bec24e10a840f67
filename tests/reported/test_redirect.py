"""A redirect from the API server's address is no answer, and our token goes nowhere else."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
from aiohttp import web
from tests.reported.lives import rested

from subfunction.errors import ApiRefused, ApiUnavailable
from subfunction.process.metrics import AgentMetrics
from subfunction_operator.agent.api.watch import Watch, WatchHandlers
from subfunction_operator.kube.credentials import Credentials, FixedToken
from subfunction_operator.kube.rest import RestClient

TOKEN: Final = "s3cret-bound-token"


@contextlib.asynccontextmanager
async def served(host: str, answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Elsewhere:
    """Another host, and who has shown it which token."""

    def __init__(self) -> None:
        self.shown: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers.get("Authorization"))
        return web.json_response({"metadata": {"uid": "not ours"}, "resources": []})


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def redirecting(elsewhere: Elsewhere) -> AsyncIterator[Credentials]:
    """A server that sends each request to another host."""
    async with served("127.0.0.2", elsewhere.answer) as other:

        async def redirected(_: web.Request) -> web.StreamResponse:
            raise web.HTTPFound(f"{other}/steal")

        async with served("127.0.0.1", redirected) as url:
            yield Credentials(url, FixedToken(TOKEN))


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a redirect of a request is followed, with our token"
)
async def test_a_request_that_is_redirected_is_refused_and_the_token_stays(
    redirecting: Credentials, elsewhere: Elsewhere
) -> None:
    async with redirecting.session() as session:
        with contextlib.suppress(ApiRefused, ApiUnavailable):
            await RestClient(session, redirecting.server).request("GET", "/apis/subfunction.dev/v1alpha1")
            assert elsewhere.shown == [], "what another host said is taken for the server's answer"
    assert elsewhere.shown == []


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: a redirect of a stream is followed, with our token"
)
async def test_a_stream_that_is_redirected_is_refused_and_the_token_stays(
    redirecting: Credentials, elsewhere: Elsewhere
) -> None:
    async with redirecting.session() as session:
        lines = RestClient(session, redirecting.server).stream_lines("/apis/subfunction.dev/v1alpha1", {}, silence=5.0)
        with contextlib.suppress(ApiRefused, ApiUnavailable):
            async for _ in lines:
                pass
    assert elsewhere.shown == []


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="issue H: the watch follows a redirect of discovery, with our token"
)
async def test_a_watch_that_is_redirected_shows_nobody_else_the_token(
    redirecting: Credentials, elsewhere: Elsewhere
) -> None:
    with Watch(redirecting, "n1", WatchHandlers(print, print), metrics=AgentMetrics()):
        await rested(0.5, unless=lambda: bool(elsewhere.shown))
    assert elsewhere.shown == []
