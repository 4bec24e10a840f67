"""Sub-functions on their whole way: agent and device plugin as the programs they are, and pods at a kubelet."""

import asyncio
import itertools
import os
import shutil
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.state.records import Record, State
from worker.bench import PATIENCE, Bench, Container, eventually, state_of
from worker.host import COLLECTION, PARENT, RESOURCE, Host, hosting
from worker.sight import NO_DRIVER, Sight

ONE = {RESOURCE: 1}


@pytest.fixture
async def host(tmp_path: Path, bench: Bench) -> AsyncIterator[Host]:
    async with hosting(tmp_path, bench) as host:
        yield host


async def test_a_pod_has_what_the_agent_made(host: Host, bench: Bench) -> None:
    host.start_agent()
    host.start_plugin()
    await host.create("blue")
    record = (await host.offered("blue"))["blue"]
    pod = await bench.run(Container(limits=ONE))
    seen = await bench.sight(pod)
    assert seen.env["SUBFUNCTION_UID"] == record.uid
    assert seen.env["SUBFUNCTION_DEVICE"] == seen.env["PCIDEVICE_SUBFUNCTION_DEV_MLX5"] == record.device_id
    nodes = {node.container_path: Path(node.host_path) for node in record.nodes}
    assert nodes
    assert {path: seen.nodes[path] for path in nodes} == {path: number(node) for path, node in nodes.items()}
    # A real container opened them: its cgroup lets it, and only the driver is missing.
    assert all(seen.refusals.get(path, NO_DRIVER).startswith(NO_DRIVER) for path in nodes), seen.refusals

    def told(found: Any) -> bool:
        return bool(found["status"].get("allocatedTo", {}).get("name") == pod["metadata"]["name"])

    await bench.until(f"{COLLECTION}/blue", told, "allocated")


async def test_after_a_reset_that_permuted_the_devices_no_container_starts_on_another_ones(
    host: Host, bench: Bench
) -> None:
    agent = host.start_agent()
    host.start_plugin()
    for name in ("blue", "green"):
        await host.create(name)
    before = await host.offered("blue", "green")
    pods = [await bench.run(Container(limits=ONE)) for _ in before]
    first = [await bench.sight(pod) for pod in pods]
    await host.end(agent)
    after = await permuted(host, before)
    for pod in pods:
        await bench.worker.kill_container(pod, "main")
    for pod in pods:
        assert "StaleAllocation" in (await bench.waits(pod))["message"]
        assert bench.worker.sight(pod, "main", 1) is None
    for pod in pods:
        await bench.delete(pod)
    await host.counted(2)
    again = [await bench.sight(await bench.run(Container(limits=ONE))) for _ in before]
    assert {which(seen) for seen in again} == {(each.uid, each.device_id) for each in after.values()}
    assert {seen.env["SUBFUNCTION_UID"] for seen in again} == {seen.env["SUBFUNCTION_UID"] for seen in first}


async def test_the_plugin_is_back_after_each_restart_of_the_kubelet(host: Host, bench: Bench) -> None:
    host.start_agent()
    host.start_plugin()
    await host.create("blue")
    await host.offered("blue")
    pod = await bench.run(Container(limits=ONE))
    for _ in range(2):
        await bench.restart_kubelet()
        await host.counted(1)
    # Twice in a row: the second comes while the plugin registers with the first, or before.
    await bench.restart_kubelet()
    await bench.restart_kubelet()
    # The Node may count what the kubelet before counted, and one that finds the container dead admits the pod anew.
    await bench.settled(pod)
    await host.counted(1)
    await bench.worker.kill_container(pod, "main")
    await bench.running(pod, restarts=1)


async def test_an_id_that_a_pod_had_before_everything_was_forgotten_is_on_offer_again(
    tmp_path: Path, bench: Bench
) -> None:
    """As after a reboot: the kubelet's checkpoint names pods that are gone, and nobody comes who would ask it."""
    for time in ("before", "after"):
        (tmp_path / time).mkdir()
        async with hosting(tmp_path / time, bench) as host:
            host.start_agent()
            host.start_plugin()
            await host.create("blue")
            records = await host.offered("blue")
            seen = await bench.sight(await bench.run(Container(limits=ONE)))
            assert which(seen) == (records["blue"].uid, records["blue"].device_id)


async def test_a_kubelet_that_hangs_and_is_replaced_is_registered_with(host: Host, bench: Bench) -> None:
    """Its registry is out of the way, so that it is called."""
    host.start_agent()
    await host.create("blue")
    await bench.worker.stop_kubelet()
    registry, path = bench.worker.root / "plugins_registry", bench.folder / "kubelet.sock"
    shutil.rmtree(registry)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        hanging.settimeout(PATIENCE)
        host.start_plugin()
        accepted, _ = await asyncio.to_thread(hanging.accept)
        with accepted:
            await bench.start_kubelet()
            await host.offered("blue")


async def test_with_the_kubelets_folder_wiped_its_pods_run_on_and_a_restart_mends_it(host: Host, bench: Bench) -> None:
    host.start_agent()
    host.start_plugin()
    await host.create("blue")
    await host.offered("blue")
    for path in bench.folder.iterdir():
        path.unlink()
    # The kubelet has its connection, and the plugin its stream: neither needs a name.
    pod = await bench.run(Container(limits=ONE))
    await bench.restart_kubelet()
    await host.counted(1)
    assert "running" in state_of(await bench.get(pod), "main")


async def test_an_upgrade_whose_instances_overlap_ends_with_the_new_one_registered(host: Host, bench: Bench) -> None:
    host.start_agent()
    old = host.start_plugin()
    await host.create("blue")
    await host.create("green")
    await host.offered("blue", "green")
    pod = await bench.run(Container(limits=ONE))
    new = host.start_plugin()
    await eventually(lambda: len(host.sockets()) == 2, "the new instance does not listen")
    await host.end(old)
    await eventually(lambda: len(host.sockets()) == 1, "the old instance left its socket")
    await host.counted(2)
    other = await bench.run_as_a_controller(Container(limits=ONE))
    given = {(await bench.sight(each)).env["SUBFUNCTION_UID"] for each in (pod, other)}
    assert len(given) == 2
    assert not new.ended()


async def test_with_the_agent_away_pods_get_the_devices_that_exist(host: Host, bench: Bench) -> None:
    agent = host.start_agent()
    plugin = host.start_plugin()
    await host.create("blue")
    record = (await host.offered("blue"))["blue"]
    await host.end(agent)
    await host.end(plugin)
    await bench.restart_kubelet()
    host.start_plugin()
    await host.counted(1)
    seen = await bench.sight(await bench.run_as_a_controller(Container(limits=ONE)))
    assert which(seen) == (record.uid, record.device_id)


async def test_each_container_of_a_pod_has_its_own_and_an_init_container_gives_its_on(host: Host, bench: Bench) -> None:
    host.start_agent()
    host.start_plugin()
    for name in ("blue", "green", "red"):
        await host.create(name)
    await host.offered("blue", "green", "red")
    containers = (
        Container("setup", ONE, init=True),
        Container("sidecar", ONE, sidecar=True),
        Container("left", ONE),
        Container("right", ONE),
    )
    pod = await bench.run(*containers)
    seen = {each.name: which(await bench.sight(pod, each.name)) for each in containers}
    assert seen["setup"] == seen["sidecar"]
    assert len({seen[name] for name in ("sidecar", "left", "right")}) == 3
    for name in ("left", "sidecar"):
        await bench.worker.kill_container(pod, name)
        assert which(await bench.sight(pod, name, start=1)) == seen[name]


def which(seen: Sight) -> tuple[str, str]:
    return seen.env["SUBFUNCTION_UID"], seen.env["SUBFUNCTION_DEVICE"]


def number(path: Path) -> str:
    status = path.stat()
    return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


async def permuted(host: Host, before: Mapping[str, Record]) -> Mapping[str, Record]:
    """Reset the card until one of its devices has another's name; the records then, with an agent running."""
    homes = {record.device_id: record.uid for record in before.values()}
    now = dict(before)
    for somebody_else_is_first in itertools.cycle((True, False)):
        host.kernel.crash_driver(PARENT)
        if somebody_else_is_first:
            theirs = Devlink(Netlink(host.kernel.transport()))
            theirs.set_active(PARENT, theirs.create_port(PARENT, pf=0, number=777).index, active=True)
        agent = host.start_agent()
        now = await made_anew(host, now)
        if any(homes.get(record.device_id, record.uid) != record.uid for record in now.values()):
            return now
        await host.end(agent)
    raise AssertionError


async def made_anew(host: Host, before: Mapping[str, Record]) -> dict[str, Record]:
    """Wait until the records speak of other devices than before."""
    found: dict[str, Record] = {}

    def changed() -> bool:
        found.update({each.name: each for each in host.records.read_all().items.values()})
        return all(
            found[name].state is State.READY and found[name].witness != record.witness
            for name, record in before.items()
        )

    await eventually(changed, "the records are as before")
    return found
