"""How often a node's object is written: once for what is new, never for what is not."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
import yaml

from components import under_test
from components.under_test import AnyApiServer
from rig.cluster import NODE, Cluster
from rig.waiting import eventually
from subfunction.api.conditions import ConditionType
from subfunction.api.node import NodeStatus, OwnerReference, SubFunctionNode
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.sysfs import SysfsTree
from subfunction.state.records import open_records
from subfunction_operator.agent.api.client import SubFunctionClient as ApiClient
from subfunction_operator.agent.inventory.client import InventoryClient
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_operator.agent.inventory.discovery_thread import DiscoveryThread
from subfunction_operator.agent.inventory.foreign_ports import Numbered
from subfunction_operator.agent.inventory.reporter import InventoryReporter
from subfunction_operator.agent.inventory.status import NodeFacts
from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Client
from subfunction_simulator.apiserver.server import crds_folder
from subfunction_simulator.kernel import SimulatedKernel

PARENT: Final = Handle.parse("pci/0000:03:00.0")
OTHER: Final = Handle.parse("pci/0000:82:00.0")
NODES: Final = "/api/v1/nodes"
REPORTS: Final = "/apis/subfunction.dev/v1alpha1/subfunctionnodes"
PLURAL: Final = "subfunctionnodes"
PACE: Final = 0.05
CREATED: Final = {("create", ""): 1, ("patch", "status"): 1}


class Site:
    """A kernel, an API server and what reports of the one to the other."""

    def __init__(self, root: Path, server: AnyApiServer, session: aiohttp.ClientSession) -> None:
        (root / "kernel").mkdir()
        self.kernel = SimulatedKernel(root / "kernel")
        self.records = open_records(root / "records")
        self.server = server
        self.api = Client(session, server.url)
        self.theirs = Devlink(Netlink(self.kernel.transport()))
        self.named: Numbered = frozenset()
        self.reporter: InventoryReporter
        self._session = session
        self._task: asyncio.Task[None] | None = None

    async def start(
        self, *, pace: float = PACE, version: str = "0.1.0", deadline: float = 5.0, listed: bool = True
    ) -> None:
        """Start a reporter that knows nothing."""
        await self.stop()
        discovery = DiscoveryThread(
            Discovery(SysfsTree(self.kernel.root / "sys"), self.records),
            self.kernel.transport(),
            lambda: self.named,
            deadline=deadline,
        )
        client = InventoryClient(ApiClient(self._session, self.server.url, NODE))
        self.reporter = InventoryReporter(discovery, client, NodeFacts(version, "6.12.57"), pace=pace)
        self._task = asyncio.create_task(self.reporter.run())
        if listed:
            self.reporter.on_listed()

    async def stop(self) -> None:
        if self._task is not None:
            assert not self._task.done(), self._task
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self.reporter.stop()
            self._task = None

    async def register(self) -> str:
        """Let the cluster have the Node, and give its uid."""
        return str((await self.api("POST", NODES, {"metadata": {"name": NODE}})).metadata["uid"])

    async def object(self) -> SubFunctionNode | None:
        answer = await self.api("GET", f"{REPORTS}/{NODE}")
        # Until something is said of the kernel, what stands there is not ours.
        ours = answer.code == 200 and "kernel" in answer.body.get("status", {})
        return SubFunctionNode.of(answer.body) if ours else None

    async def until(self, good: Callable[[SubFunctionNode], bool], what: str) -> SubFunctionNode:
        deadline = asyncio.get_running_loop().time() + 10
        while True:
            found = await self.object()
            if found is not None and good(found):
                return found
            assert asyncio.get_running_loop().time() < deadline, f"{what}: {found}"
            await asyncio.sleep(0.01)

    async def until_it_says(self, good: Callable[[NodeStatus], bool], what: str) -> SubFunctionNode:
        return await self.until(lambda found: good(found.status), what)

    async def reported(self) -> SubFunctionNode:
        return await self.until(lambda _: True, "an object")

    async def looks(self, number: int = 2) -> None:
        """Let the reporter look at the node some times more, each time woken anew."""
        for _ in range(number):
            self.reporter.wake()
            await asyncio.sleep(PACE * 1.5)

    def writes(self) -> dict[tuple[str, str], int]:
        counts = self.server.traffic.counts
        return {
            (verb, below): count
            for (verb, kind, below), count in counts.items()
            if kind == PLURAL and verb not in {"get", "list", "watch"}
        }

    def foreign(self, *numbers: int) -> None:
        """Let somebody else make sub-functions with their own tools."""
        for number in numbers:
            self.theirs.create_port(PARENT, pf=0, number=number)


@contextlib.asynccontextmanager
async def site_of(root: Path, crds: Path | None = None) -> AsyncIterator[Site]:
    chosen = under_test.server() if crds is None else ApiServer(crds=crds)
    async with chosen as server, aiohttp.ClientSession() as session:
        made = Site(root, server, session)
        try:
            yield made
        finally:
            await made.stop()


@pytest_asyncio.fixture
async def site(root: Path) -> AsyncIterator[Site]:
    async with site_of(root) as made:
        yield made


def foreign_numbers(status: NodeStatus) -> list[int | None]:
    return [each.number for parent in status.parents for each in parent.foreign_sub_functions]


async def test_the_object_is_made_once_under_the_nodes_name_and_the_node_owns_it(site: Site) -> None:
    uid = await site.register()
    await site.start()
    found = await site.reported()
    assert found.metadata.name == NODE
    assert found.metadata.owner_references == (OwnerReference.of_node(NODE, uid),)
    assert [parent.device for parent in found.status.parents] == ["pci/0000:03:00.0", "pci/0000:82:00.0"]
    assert site.writes() == CREATED


async def test_what_is_as_it_was_is_never_written_again(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.looks(3)
    site.reporter.resync()
    await site.looks()
    await site.start()
    await site.looks()
    assert site.writes() == CREATED


async def test_a_burst_is_one_write_and_the_last_of_it_is_in_it(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.start(pace=0.5)
    await asyncio.sleep(0.2)
    for number in range(1, 21):
        site.foreign(number)
        site.reporter.wake()
        await asyncio.sleep(0.002)
    await site.until_it_says(lambda status: foreign_numbers(status) == list(range(1, 21)), "all foreign ones")
    assert site.writes() == {("create", ""): 1, ("patch", "status"): 2}


async def test_changes_without_end_are_written_once_a_pace(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.start(pace=0.4)
    began = asyncio.get_running_loop().time()
    for number in range(1, 61):
        site.foreign(number)
        site.reporter.wake()
        await asyncio.sleep(0.02)
    took = asyncio.get_running_loop().time() - began
    assert 2 <= site.writes()["patch", "status"] <= 1 + took / 0.4 + 1


async def test_what_an_object_names_is_no_news(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    site.named = frozenset({(str(PARENT), 7)})
    site.foreign(7)
    await site.looks()
    assert site.writes() == CREATED


async def test_a_card_that_goes_and_comes_back_is_told(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    site.kernel.remove_parent(PARENT)
    site.reporter.wake()
    await site.until_it_says(lambda status: status.parent_count == 1, "one card")
    site.kernel.rescan()
    site.reporter.wake()
    await site.until_it_says(lambda status: status.parent_count == 2, "two cards")


async def test_a_driver_that_is_unloaded_takes_its_flavour_away_until_it_is_loaded_again(site: Site) -> None:
    await site.register()
    await site.start()
    found = await site.reported()
    assert Flavour.VIRTIO in found.status.flavours
    for module in ("vhost_vdpa", "virtio_vdpa"):
        site.kernel.unload_module(module)
    site.reporter.wake()
    await site.until_it_says(lambda status: Flavour.VIRTIO not in status.flavours, "no virtio")
    site.kernel.load_module("virtio_vdpa")
    site.reporter.wake()
    await site.until_it_says(lambda status: Flavour.VIRTIO in status.flavours, "virtio again")


async def test_another_version_of_the_agent_is_told_once(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.start(version="0.2.0")
    await site.until_it_says(lambda status: status.agent_version == "0.2.0", "the new version")
    await site.looks()
    assert site.writes() == {("create", ""): 1, ("patch", "status"): 2}


async def test_an_object_that_a_person_deleted_or_changed_is_as_the_node_is_after_the_next_comparison(
    site: Site,
) -> None:
    await site.register()
    await site.start()
    before = await site.reported()
    await site.api("DELETE", f"{REPORTS}/{NODE}")
    site.reporter.resync()
    after = await site.reported()
    assert after.metadata.uid != before.metadata.uid
    assert after.status.parents == before.status.parents
    await site.api.merge(f"{REPORTS}/{NODE}/status", {"status": {"capacity": 7, "parents": [{"device": "?"}]}})
    site.reporter.resync()
    await site.until_it_says(lambda status: status.capacity == 256, "the true capacity")


async def test_an_object_that_is_gone_when_it_is_written_is_made_anew(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.api("DELETE", f"{REPORTS}/{NODE}")
    site.foreign(3)
    site.reporter.wake()
    await site.looks(1)
    site.reporter.wake()
    await site.until_it_says(lambda status: foreign_numbers(status) == [3], "the foreign one")


async def test_words_that_this_version_does_not_know_are_written_over(site: Site) -> None:
    await site.register()
    head = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionNode"}
    await site.api("POST", REPORTS, head | {"metadata": {"name": NODE}})
    strange = {"parents": [{"device": "x", "flavours": [{"name": "quantum", "possible": True}]}]}
    assert (await site.api.merge(f"{REPORTS}/{NODE}/status", {"status": strange})).code == 200
    await site.start()
    found = await site.reported()
    assert found.status.parent_count == 2


async def test_without_its_node_nothing_is_made_and_the_log_says_so(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await site.start()
    with caplog.at_level(logging.WARNING):
        await eventually(lambda: f"the cluster has no Node {NODE}" in caplog.text, "the warning")
    assert "kubectl get nodes" in caplog.text
    assert site.writes() == {}
    await site.register()
    site.reporter.resync()
    await site.reported()


async def test_a_node_that_was_made_anew_owns_the_object_of_the_old_one(site: Site) -> None:
    await site.register()
    await site.start()
    await site.reported()
    await site.stop()
    await site.api("DELETE", f"{NODES}/{NODE}")
    uid = await site.register()
    await site.start()
    await site.until(lambda found: found.metadata.owner_references[0].uid == uid, "the new owner")
    assert site.writes() == {**CREATED, ("patch", ""): 1}


async def test_nothing_is_looked_at_before_the_objects_are_known(site: Site) -> None:
    await site.register()
    site.foreign(9)
    await site.start(listed=False)
    await site.looks(2)
    assert site.writes() == {}
    site.named = frozenset({(str(PARENT), 9)})
    site.reporter.on_listed()
    found = await site.reported()
    assert foreign_numbers(found.status) == []


@pytest.mark.parametrize(("verb", "code"), [("create", 500), ("get", 503), ("patch", 409)])
async def test_a_server_in_trouble_is_asked_again(site: Site, verb: str, code: int) -> None:
    await site.register()
    site.server.traffic.answer_next(1, code, verb=verb, resource=PLURAL, retry_after=0)
    await site.start()
    await site.reported()


async def test_a_crd_that_is_older_than_the_agent_is_no_reason_to_write_for_ever(root: Path) -> None:
    (root / "crds").mkdir()
    crd: Any = yaml.safe_load((crds_folder() / "subfunctionnodes.yaml").read_text())
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["agentVersion"]
    (root / "crds" / "old.yaml").write_text(yaml.safe_dump(crd))
    async with site_of(root, root / "crds") as site:
        await site.register()
        await site.start()
        await site.reported()
        await site.looks(3)
        site.reporter.resync()
        await site.looks()
        assert site.writes() == CREATED


def blockers(status: NodeStatus) -> dict[str, str | None]:
    """Why each parent can make no native sub-function, by its handle."""
    return {
        parent.device: flavour.reason
        for parent in status.parents
        for flavour in parent.flavours
        if flavour.name is Flavour.MLX5
    }


def survey_threads() -> int:
    return sum(thread.name == "survey" for thread in threading.enumerate())


async def all_threads_back(site: Site) -> None:
    stuck = site.reporter._discovery._stuck.values()
    await eventually(lambda: all(reader.worker.stuck_in is None for reader, _ in stuck), "the threads left behind")


async def test_a_card_that_hangs_is_named_and_hides_no_other_one(site: Site) -> None:
    await site.register()
    await site.start(deadline=0.2)
    seen = await site.reported()
    threads = survey_threads()
    with site.kernel.faults.hang(PARENT):
        site.reporter.wake()
        found = await site.until_it_says(
            lambda status: blockers(status)[str(PARENT)] == Reason.KERNEL_BUSY, "the card that hangs"
        )
        assert blockers(found.status)[str(OTHER)] is None
        assert ready(found.status) == ("True", Reason.READY)
        before, after = seen.status.parents[0], found.status.parents[0]
        assert (after.netdev, after.capacity, after.eswitch_mode) == (
            before.netdev,
            before.capacity,
            before.eswitch_mode,
        )
        foreign = Devlink(Netlink(site.kernel.transport())).create_port(OTHER, pf=0, number=77)
        site.reporter.wake()
        await site.until_it_says(lambda status: foreign_numbers(status) == [77], "what is new on the other card")
        assert foreign.number == 77
        assert survey_threads() <= threads + 1
    await all_threads_back(site)
    site.reporter.wake()
    again = await site.until_it_says(lambda status: blockers(status)[str(PARENT)] is None, "the card again")
    assert ready(again.status) == ("True", Reason.READY)


async def test_a_kernel_that_answers_about_no_card_is_told_and_what_was_seen_stays(site: Site) -> None:
    await site.register()
    await site.start(deadline=0.2)
    seen = await site.reported()
    with site.kernel.faults.hang(PARENT), site.kernel.faults.hang(OTHER):
        site.reporter.wake()
        found = await site.until_it_says(lambda status: ready(status) == ("False", Reason.KERNEL_BUSY), "a busy kernel")
        assert [parent.capacity for parent in found.status.parents] == [each.capacity for each in seen.status.parents]
    await all_threads_back(site)
    site.reporter.wake()
    again = await site.until_it_says(lambda status: ready(status) == ("True", Reason.READY), "the kernel again")
    assert again.status.parents == seen.status.parents


async def test_the_agent_keeps_the_object_true_and_the_load_does_not_touch_it(node: Cluster) -> None:
    await node.request("POST", NODES, {"metadata": {"name": NODE}})
    node.start_agent(survey_interval=PACE, resync=0.3)
    names = [f"sf-{number}" for number in range(6)]
    await asyncio.gather(*(node.apply(name) for name in names))
    for name in names:
        await node.until_ready(name)
    await node.until(lambda: ("patch", "status") in node.server.writes(PLURAL), "the object")
    for name in names:
        await node.delete(name)
        await node.until_gone(name)
    gets, lists = len(node.server.asked("get", PLURAL)), len(node.server.asked("list"))
    await node.until(lambda: len(node.server.asked("get", PLURAL)) > gets + 1, "two looks at the whole node")
    assert len(node.server.asked("list")) == lists
    assert node.server.writes(PLURAL) == CREATED
    Devlink(Netlink(node.kernel.transport())).create_port(PARENT, pf=0, number=500)
    deadline = time.monotonic() + 10
    while foreign_numbers(SubFunctionNode.of(await node.request("GET", f"{REPORTS}/{NODE}")).status) != [500]:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert node.server.writes(PLURAL)["patch", "status"] == 2


def ready(status: NodeStatus) -> tuple[str, str] | None:
    condition = status.condition(ConditionType.READY)
    return None if condition is None else (condition.status, condition.reason)
