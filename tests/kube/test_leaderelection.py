"""One controller at a time: the Lease is taken, renewed, given back, and taken over from one that is gone."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from components.under_test import AnyApiServer
from fleet.fleet import Fleet, cancelled
from rig.waiting import eventually
from subfunction.errors import LeaseLost, UnsupportedField
from subfunction_operator.kube.credentials import Credentials, FixedToken
from subfunction_operator.kube.leaderelection import LeaderElectionConfig, LeaderElector
from subfunction_operator.kube.rest import RestClient
from subfunction_simulator.apiserver.client import Client

PATH = "/apis/coordination.k8s.io/v1/namespaces/default/leases/subfunction-controller"


@pytest_asyncio.fixture
async def endpoint(api_server: AnyApiServer) -> AsyncIterator[RestClient]:
    async with Credentials(api_server.url, FixedToken()).session() as session:
        yield RestClient(session, api_server.url)


def lease(endpoint: RestClient, identity: str, duration: float = 2.0) -> LeaderElector:
    terms = LeaderElectionConfig(
        namespace="default",
        name="subfunction-controller",
        identity=identity,
        duration=duration,
        renew_deadline=duration * 0.6,
        retry=0.05,
    )
    return LeaderElector(endpoint, terms)


def has(held: LeaderElector) -> bool:
    return held.is_leader


async def test_a_lease_is_made_held_renewed_and_given_back(endpoint: RestClient, api: Client) -> None:
    held = lease(endpoint, "one")
    assert not has(held)
    await held.acquire()
    assert has(held)
    made = (await api("GET", PATH)).body
    assert (made["spec"]["holderIdentity"], made["spec"]["leaseTransitions"]) == ("one", 0)
    keeping = asyncio.create_task(held.renew())
    await asyncio.sleep(0.3)
    renewed = (await api("GET", PATH)).body["spec"]
    assert renewed["renewTime"] > made["spec"]["renewTime"]
    assert renewed["acquireTime"] == made["spec"]["acquireTime"]
    await cancelled(keeping)
    await held.release()
    assert not has(held)
    assert (await api("GET", PATH)).body["spec"]["holderIdentity"] == ""
    other = lease(endpoint, "two")
    await asyncio.wait_for(other.acquire(), 1.0)
    spec = (await api("GET", PATH)).body["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_renewal_that_is_stored_while_it_is_given_back_is_no_fault(
    endpoint: RestClient, api: Client, api_server: AnyApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    held = lease(endpoint, "one")
    await held.acquire()
    api_server.traffic.answer_next(1, 409, verb="update", resource="leases")
    await held.release()
    assert (await api("GET", PATH)).body["spec"]["holderIdentity"] == ""
    assert [line.message for line in caplog.records if line.levelname != "INFO"] == []


async def test_who_comes_second_waits_until_nobody_renews(endpoint: RestClient) -> None:
    held, waiting = lease(endpoint, "one", duration=1.0), lease(endpoint, "two", duration=1.0)
    await held.acquire()
    keeping, taking = asyncio.create_task(held.renew()), asyncio.create_task(waiting.acquire())
    await asyncio.sleep(1.5)
    assert not taking.done()
    await cancelled(keeping)
    # Who was killed gives nothing back; the other waits for the Lease's whole time.
    await asyncio.wait_for(taking, 5.0)
    assert not has(held), "who does not renew stops before another one may begin"
    assert has(waiting)


async def test_who_finds_another_one_on_it_ends(endpoint: RestClient, api: Client) -> None:
    held = lease(endpoint, "one")
    await held.acquire()
    await api.merge(PATH, {"spec": {"holderIdentity": "two"}})
    with pytest.raises(LeaseLost, match="held by two"):
        await asyncio.wait_for(held.renew(), 5.0)
    assert not has(held)


async def test_a_renewal_whose_answer_was_lost_is_known_again(endpoint: RestClient, api_server: AnyApiServer) -> None:
    held = lease(endpoint, "one")
    await held.acquire()
    struck = asyncio.Event()
    api_server.traffic.sever(lambda asked: asked.verb == "update", 0, after=True, struck=struck.set)
    keeping = asyncio.create_task(held.renew())
    await asyncio.wait_for(struck.wait(), 5.0)
    await asyncio.sleep(0.5)
    assert has(held)
    assert not keeping.done()
    await cancelled(keeping)


async def test_who_cannot_renew_in_time_writes_nothing_more_and_ends(
    endpoint: RestClient, api_server: AnyApiServer
) -> None:
    held = lease(endpoint, "one", duration=1.0)
    await held.acquire()
    api_server.traffic.answer_next(10_000, 503, verb="update", resource="leases")
    with pytest.raises(LeaseLost, match=r"could not be renewed for 0\.6 s"):
        await asyncio.wait_for(held.renew(), 5.0)
    assert not has(held)


async def test_a_lease_is_taken_as_soon_as_there_is_a_server(endpoint: RestClient, api_server: AnyApiServer) -> None:
    await api_server.stop()
    taking = asyncio.create_task(lease(endpoint, "one").acquire())
    await asyncio.sleep(0.2)
    assert not taking.done()
    await api_server.start()
    await asyncio.wait_for(taking, 10.0)


async def test_of_two_controllers_one_works_and_the_other_takes_over(fleet: Fleet) -> None:
    await fleet.add_node()
    first = fleet.start_controller(identity="one")
    await fleet.apply_pool(replicas=1)
    await fleet.until_all(lambda there: len(there) == 2)
    fleet.start_controller(identity="two")
    await asyncio.sleep(0.3)
    watches = len(fleet.server.asked("watch"))
    await cancelled(first)  # gives the Lease back
    await fleet.scale(2)
    await fleet.until_all(lambda there: len(there) == 4, within=5.0)
    assert len(fleet.server.asked("watch")) > watches
    lease = await fleet.request("GET", PATH)
    assert lease["spec"]["holderIdentity"] == "two"


async def test_times_that_do_not_fit_are_refused_with_a_hint(fleet: Fleet) -> None:
    with pytest.raises(UnsupportedField, match="Set lease-retry below renew-deadline"):
        await fleet.start_controller(lease_duration=5.0, renew_deadline=5.0)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "no server"])
async def test_the_program_ends_cleanly_by_a_signal_and_not_without_the_lease(fleet: Fleet, how: str) -> None:
    program = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("subfunction-operator"), "controller", "--kubeconfig", fleet.kubeconfig),
        *("--identity", "one", "--lease-duration", "3", "--renew-deadline", "2", "--lease-retry", "0.2"),
        stderr=asyncio.subprocess.PIPE,
    )

    def holds() -> bool:
        return bool(fleet.server.asked("watch", "subfunctionpools"))

    try:
        await eventually(holds, "the controller to watch", within=20.0)
        if how == "no server":
            fleet.server.stop()
        else:
            program.send_signal(signal.Signals[how])
        said = (await asyncio.wait_for(program.communicate(), 20.0))[1].decode()
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    if how == "no server":
        fleet.server.start()
        assert program.returncode == 1, said
        assert "could not be renewed for 2 s" in said
    else:
        assert program.returncode == 0, said
        assert (await fleet.request("GET", PATH))["spec"]["holderIdentity"] == ""
