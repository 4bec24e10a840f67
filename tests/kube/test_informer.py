"""What the controller knows of the cluster stays true, whatever becomes of its watches and of its server."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import cast

import msgspec
import pytest
import pytest_asyncio

from components.under_test import AnyApiServer
from fleet.fleet import Fleet, cancelled
from rig import virtualtime
from rig.waiting import eventually
from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction_operator.controller.model.subfunction import CachedSubFunction, SubFunctionDecoder
from subfunction_operator.kube.credentials import Credentials, FixedToken
from subfunction_operator.kube.informer import Informer
from subfunction_operator.kube.rest import RestClient
from subfunction_operator.kube.store import Store
from subfunction_simulator.apiserver.client import Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"


class Seen(Store[CachedSubFunction]):
    """What an informer made known, and each news of it."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []
        super().__init__(self._heard, lambda: None)

    def _heard(self, old: CachedSubFunction | None, new: CachedSubFunction | None) -> None:
        told = new or old
        assert told is not None
        self.news.append(("gone" if new is None else "new" if old is None else "changed", told.name))


@pytest_asyncio.fixture
async def seen(api_server: AnyApiServer) -> AsyncIterator[Seen]:
    """What is known while an informer runs that has no patience with a silent server."""
    found = Seen()
    async with Credentials(api_server.url, FixedToken()).session() as session:
        informer = Informer(RestClient(session, api_server.url), ALL, SubFunctionDecoder().read, found, silence=1.0)
        task = asyncio.create_task(informer.run())
        yield found
        await cancelled(task)


async def make(api: Client, name: str) -> None:
    spec = {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}}
    head = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction"}
    assert (await api("POST", ALL, {**head, "metadata": {"name": name}, "spec": spec})).code == 201


def named(seen: Seen, *names: str) -> Callable[[], bool]:
    return lambda: set(seen.items) == set(names)


async def test_what_is_there_comes_and_changes_and_goes_is_known(api: Client, seen: Seen) -> None:
    await make(api, "a")
    await eventually(named(seen, "a"), "a")
    await make(api, "b")
    await api.merge(f"{ALL}/a", {"spec": {"mtu": 9000}})
    await eventually(lambda: named(seen, "a", "b")() and seen.items["a"].spec.mtu == 9000, "the change")
    await api("DELETE", f"{ALL}/a")
    await eventually(named(seen, "b"), "a to go")
    assert seen.news == [("new", "a"), ("new", "b"), ("changed", "a"), ("gone", "a")]


@pytest.mark.parametrize("fault", ["cut", "ERROR 410", "ERROR 500", "silent", "refused", "expired"])
async def test_whatever_becomes_of_a_watch_what_happened_meanwhile_is_known(
    api: Client, api_server: AnyApiServer, seen: Seen, fault: str
) -> None:
    for name in ("a", "b"):
        await make(api, name)
    await eventually(named(seen, "a", "b"), "both")
    await eventually(lambda: bool(api_server.traffic.streams), "a watch")
    traffic = api_server.traffic
    match fault:
        case "silent":
            traffic.stall_watches()
        case "refused":
            traffic.answer_next(2, 503, verb="watch")
            traffic.drop_watches()
        case "expired":
            traffic.answer_next(1, 410, verb="watch")
            traffic.drop_watches()
        case "cut":
            traffic.drop_watches()
        case _:
            traffic.fail_watches(int(fault[-3:]))
    await api("DELETE", f"{ALL}/a")
    await make(api, "c")
    await eventually(named(seen, "b", "c"), "what happened meanwhile", within=20.0)
    assert ("gone", "a") in seen.news
    assert seen.news.count(("new", "b")) == 1


async def test_a_long_list_is_read_in_pages(api: Client, api_server: AnyApiServer) -> None:
    for number in range(7):
        await make(api, f"sf-{number}")
    found = Seen()
    async with Credentials(api_server.url, FixedToken()).session() as session:
        informer = Informer(RestClient(session, api_server.url), ALL, SubFunctionDecoder().read, found)
        task = asyncio.create_task(informer.run())
        await eventually(named(found, *(f"sf-{number}" for number in range(7))), "all")
        await cancelled(task)
    lists = [asked for asked in api_server.traffic.requests if asked.verb == "list"]
    assert lists[-1].query["limit"] == "500"
    assert "resourceVersion" not in lists[0].query


async def test_what_nobody_can_read_is_passed_over(api: Client, seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    await make(api, "a")
    await eventually(named(seen, "a"), "a")
    informer = Informer(RestClient(None, ""), ALL, SubFunctionDecoder().read, seen)  # type: ignore[arg-type]  # it asks nobody here
    assert informer._decode(msgspec.Raw(b'{"metadata": {"name": "odd", "uid": 7}}')) is None
    assert "subfunctions/odd is not of the shape that the CRD promises" in caplog.text


def test_an_answer_of_ours_is_known_at_once_and_never_brings_back_what_is_gone() -> None:
    seen = Seen()
    seen.replace([], "10")
    made = SubFunctionDecoder().read(_object("a", "11"))
    seen.upsert_answer(made)
    assert named(seen, "a")()
    seen.upsert(made)
    assert seen.news == [("new", "a")], "its echo is no news"
    seen.delete(SubFunctionDecoder().read(_object("a", "13")))
    seen.upsert_answer(SubFunctionDecoder().read(_object("a", "12")))
    assert seen.items == {}
    seen.upsert_answer(SubFunctionDecoder().read(_object("a", "14", uid="other")))
    seen.delete(SubFunctionDecoder().read(_object("a", "13")))
    assert named(seen, "a")(), "another one of the same name stays"


def _object(name: str, version: str, uid: str = "u") -> bytes:
    metadata = {"name": name, "uid": uid, "resourceVersion": version}
    return msgspec.json.encode({"metadata": metadata, "spec": {"flavour": "mlx5", "parent": {"netdev": "eth0"}}})


class Barred:
    """A client that may list a kind, and whose watches fail in one way."""

    def __init__(self, failure: SubFunctionError | None) -> None:
        self.failure, self.lists, self.watches = failure, 0, 0

    async def request_raw(self, *_: object, **__: object) -> bytes:
        self.lists += 1
        return b'{"metadata": {"resourceVersion": "1"}, "items": []}'

    async def stream_lines(self, *_: object) -> AsyncGenerator[list[bytes]]:
        self.watches += 1
        lines: list[list[bytes]] = []
        for line in lines:
            yield line
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize(
    "failure",
    [ApiRefused("403", status=403), ApiUnavailable("no answer"), None],
    ids=["forbidden", "no answer", "an end without a line"],
)
def test_a_watch_that_always_fails_is_asked_for_ever_more_rarely(failure: SubFunctionError | None) -> None:
    client = Barred(failure)

    async def ten_minutes() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(600):
                await Informer(cast(RestClient, client), ALL, SubFunctionDecoder().read, Seen()).run()

    virtualtime.run(ten_minutes())
    assert 20 < client.watches < 100
    assert client.lists <= client.watches + 1


async def test_an_outage_of_the_api_server_is_outlived_and_nothing_is_lost(fleet: Fleet) -> None:
    await fleet.add_node("n1")
    fleet.start_controller(lease_duration=30.0, renew_deadline=20.0)
    await fleet.apply_pool(replicas=1)
    await fleet.until_all(lambda there: len(there) == 2)
    fleet.server.stop()
    await asyncio.sleep(1.0)
    fleet.server.start()
    await fleet.scale(2)
    await fleet.add_node("n2")
    await fleet.until_all(lambda there: len(there) == 8)


@pytest.mark.parametrize("verb", ["list", "watch", "create", "patch"])
async def test_a_server_that_asks_for_patience_is_given_it(fleet: Fleet, verb: str) -> None:
    await fleet.add_node("n1")
    await fleet.apply("blue", nodeName=None)
    await fleet.apply_pool(replicas=1)
    traffic = fleet.server.api.traffic
    before = len(fleet.server.asked(verb))
    fleet.server.call(lambda: traffic.answer_next(2, 429, verb=verb, resource="subfunctions", retry_after=1))
    fleet.start_controller()
    await fleet.until(lambda: len(fleet.server.asked(verb)) >= before + 3, f"a third {verb}", within=20.0)
    await fleet.until_all(
        lambda there: len(there) == 3 and all(found.spec.node_name == "n1" for found in there.values())
    )
