"""Containers that end and start again, with their kubelet there, away, or back without its plugin."""

from subfunction.kubelet.checkpoint import CHECKPOINT
from worker.bench import Bench, Container, ids, state_of, status_of


async def test_a_container_that_crashed_gets_the_first_answer_again_and_its_plugin_is_asked_before(
    bench: Bench,
) -> None:
    plugin = await bench.plug("a", "b")
    pod = await bench.run()
    first = await bench.sight(pod)
    await bench.worker.kill_container(pod, "main")
    pod = await bench.running(pod, restarts=1)
    again = await bench.sight(pod, start=1)
    assert ids([again], bench.resource) == ids([first], bench.resource)
    assert len(plugin.allocations) == 1
    assert plugin.starts == [plugin.allocations[0]] * 2


async def test_a_container_that_crashed_does_not_start_while_its_plugin_refuses(bench: Bench) -> None:
    plugin = await bench.plug("a")
    pod = await bench.run()
    plugin.refuses_start = "StaleAllocation: another one by now"
    await bench.worker.kill_container(pod, "main")
    waiting = await bench.waits(pod)
    assert "StaleAllocation: another one by now" in waiting["message"]
    assert bench.worker.sight(pod, "main", 1) is None


async def test_a_sidecar_that_crashed_gets_its_own_device_again(bench: Bench) -> None:
    plugin = await bench.plug("a", "b")
    one = {bench.resource: 1}
    pod = await bench.run(Container("sidecar", one, sidecar=True), Container("main", one))
    first = await bench.sight(pod, "sidecar")
    await bench.worker.kill_container(pod, "sidecar")
    again = await bench.sight(pod, "sidecar", start=1)
    assert ids([again], bench.resource) == ids([first], bench.resource)
    assert len(plugin.allocations) == 2


async def test_a_pod_runs_on_through_two_restarts_of_the_kubelet_and_keeps_its_device(bench: Bench) -> None:
    plugin = await bench.plug("a", "b")
    pod = await bench.run()
    [held] = bench.holdings()
    for _ in range(2):
        await bench.restart_kubelet()
        await plugin.stop()
        plugin = await bench.plug("a", "b")
    other = await bench.run()
    assert bench.holdings()[held] == {pod["metadata"]["uid"]}
    assert len(bench.holdings()) == 2
    pod = await bench.get(pod)
    assert (status_of(pod, "main")["restartCount"], "running" in state_of(pod, "main")) == (0, True)
    assert ids([await bench.sight(other)], bench.resource) == [*({"a", "b"} - {held})]
    assert plugin.allocations == [(*({"a", "b"} - {held}),)]


async def test_a_container_that_crashed_before_the_plugin_is_back_starts_unasked(bench: Bench) -> None:
    """A hole in the kubelet: one that restarted does not know that the plugin wants to be asked."""
    plugin = await bench.plug("a")
    pod = await bench.run()
    first = await bench.sight(pod)
    await bench.restart_kubelet()
    await bench.settled(pod)
    await bench.worker.kill_container(pod, "main")
    again = await bench.sight(await bench.running(pod, restarts=1), start=1)
    assert ids([again], bench.resource) == ids([first], bench.resource)
    assert len(plugin.starts) == 1


async def test_a_pod_whose_container_ended_with_the_kubelet_away_fails_if_the_plugin_is_not_back(bench: Bench) -> None:
    await bench.plug("a")
    pod = await bench.run()
    await bench.worker.stop_kubelet()
    await bench.worker.kill_container(pod, "main")
    await bench.start_kubelet()
    status = await bench.failed(pod)
    assert status["reason"] == "UnexpectedAdmissionError"
    assert f"no healthy devices present; cannot allocate unhealthy devices {bench.resource}" in status["message"]


async def test_a_running_pod_fails_at_a_restart_if_its_init_container_had_a_device(bench: Bench) -> None:
    """kubernetes/kubernetes#138446: what has run to its end does not run, and so is admitted anew."""
    await bench.plug("a")
    one = {bench.resource: 1}
    pod = await bench.run(Container("setup", one, init=True), Container("main", one))
    await bench.restart_kubelet()
    status = await bench.failed(pod)
    assert f"no healthy devices present; cannot allocate unhealthy devices {bench.resource}" in status["message"]


async def test_with_its_checkpoint_lost_the_kubelet_gives_a_held_device_to_another_pod(bench: Bench) -> None:
    plugin = await bench.plug("a", "b", preferred=("a",))
    pod = await bench.run()
    await without_checkpoint(bench)
    await bench.settled(pod)
    await plugin.stop()
    plugin = await bench.plug("a", "b", preferred=("a",))
    other = await bench.run()
    assert plugin.allocations == [("a",)]
    assert bench.holdings() == {"a": {other["metadata"]["uid"]}}
    assert "running" in state_of(await bench.get(pod), "main")


async def test_with_its_checkpoint_lost_the_kubelet_counts_pods_and_refuses_one_too_many(bench: Bench) -> None:
    plugin = await bench.plug("a")
    pod = await bench.run()
    await without_checkpoint(bench)
    await bench.settled(pod)
    await plugin.stop()
    plugin = await bench.plug("a")
    status = await bench.failed(await bench.create())
    assert (status["reason"], status["message"]) == (
        f"OutOf{bench.resource}",
        f"Pod was rejected: Node didn't have enough resource: {bench.resource}, requested: 1, used: 1, capacity: 1",
    )
    # It comes to count after it has allocated: a plugin's Allocate is no proof that a pod will be.
    assert plugin.allocations == [("a",)]


async def test_with_its_checkpoint_lost_and_the_plugin_away_a_pod_starts_without_a_device(bench: Bench) -> None:
    """A hole in the kubelet: the Node says that there is a device, and the kubelet knows of no such resource."""
    plugin = await bench.plug("a")
    await without_checkpoint(bench)
    await plugin.stop()
    await bench.counted(1)
    seen = await bench.sight(await bench.run())
    assert bench.resource.partition("/")[2].upper() not in seen.env
    assert "/dev/nic" not in seen.nodes
    assert plugin.allocations == []


async def test_with_its_checkpoint_lost_a_container_that_crashed_cannot_start(bench: Bench) -> None:
    plugin = await bench.plug("a")
    pod = await bench.run()
    await without_checkpoint(bench)
    await bench.settled(pod)
    await plugin.stop()
    await bench.plug("a")
    await bench.worker.kill_container(pod, "main")
    waiting = await bench.waits(pod)
    uid = pod["metadata"]["uid"]
    assert waiting["message"] == (
        f"no devices found allocated in local cache for pod {uid}, container main, resource {bench.resource}"
    )


async def without_checkpoint(bench: Bench) -> None:
    """Restart the kubelet with its checkpoint gone."""
    await bench.worker.stop_kubelet()
    (bench.folder / CHECKPOINT).unlink()
    await bench.start_kubelet()
