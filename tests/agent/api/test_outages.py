"""An API server in trouble: silent, impatient, gone and back without its memory. The agent outlives all of it.

The watch's own ends (410, ERROR events, a cut) are in test_guards.py. `make test-apiserver` asks a real server.
"""

import functools
import time
from typing import Final

import pytest

from rig.cluster import Cluster
from subfunction_simulator.kernel import Kind

KIND: Final = "/apis/subfunction.dev/v1alpha1"


async def test_a_server_that_comes_back_without_its_history_is_followed_on(node: Cluster) -> None:
    node.start_agent()
    await node.apply("first")
    ready = await node.until_ready("first")
    await node.apply("goes")
    await node.until_ready("goes")
    watches = len(node.server.asked("watch"))
    node.server.restart()
    await node.force_gone("goes")
    await node.apply("second")
    await node.change("first", mtu=9000)
    await node.until_ready("second", within=20)
    await node.until_object(lambda seen: seen.status.observed_generation == 2, "first", within=20)
    await node.until(lambda: len(node.records.read_all().items) == 2, "the deleted one to go", within=20)
    assert (await node.until_ready("first")).status.number == ready.status.number
    assert len(node.server.asked("watch")) > watches
    assert len(node.numbers()) == 2


@pytest.mark.parametrize("verb", ["list", "watch", "patch"])
async def test_a_server_that_asks_for_patience_is_given_it(node: Cluster, verb: str) -> None:
    traffic = node.server.api.traffic
    refuse = functools.partial(traffic.answer_next, 2, 429, verb=verb, resource="subfunctions", retry_after=1)
    node.server.call(refuse)
    began = time.monotonic()
    node.start_agent()
    await node.apply()
    await node.until_ready(within=20)
    await node.until(lambda: len(node.server.asked(verb)) >= 3, f"a third {verb}")
    if verb != "patch":  # what wakes an object's work in the meantime is not held back
        assert time.monotonic() - began >= 1


async def test_what_others_did_is_heard_from_the_answer_to_a_write_too(node: Cluster) -> None:
    # The watch tells of it later, and what it tells is then no newer than what the answer told.
    node.kernel.hold(Kind.ATTACH)
    node.start_agent()
    await node.apply()
    await node.until(lambda: node.numbers() == [1], "the port")
    node.server.call(node.server.api.traffic.stall_watches)
    await node.delete()
    node.kernel.let_go(Kind.ATTACH)
    await node.until_gone()


async def test_a_watch_that_fell_silent_loses_nothing(node: Cluster) -> None:
    node.start_agent(relist=0.3)
    await node.apply("first")
    first = await node.until_ready("first")
    node.server.call(node.server.api.traffic.stall_watches)
    await node.apply("second")
    await node.until_ready("second")
    await node.change("first", macAddress="02:00:00:00:00:01")
    await node.until_object(lambda seen: seen.status.mac_address == "02:00:00:00:00:01", "first")
    await node.force_gone("second")
    await node.until(lambda: node.records.read(first.uid) is not None and len(node.numbers()) == 1, "the second to go")
    node.server.call(node.server.api.traffic.heal)
    await node.delete("first")
    await node.until_gone("first")


async def test_a_kind_that_is_not_served_for_a_while_is_watched_once_it_is(node: Cluster) -> None:
    # So while CRDs are being installed, or were deleted and come back.
    missing = functools.partial(node.server.api.traffic.answer_next, 1, 404, verb="get", resource=KIND)
    node.server.call(missing)
    node.start_agent()
    await node.apply("first")
    await node.until_ready("first")
    await node.until(lambda: bool(node.server.asked("get", KIND)), "a look whether the kind is served")
    await node.apply("second")
    await node.until_ready("second", within=20)
