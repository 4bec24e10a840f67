"""Pods that ask for devices: admitted, started, refused."""

from typing import Any

from subfunction.kubelet import podresources_pb2
from worker.bench import Bench, Container, eventually, ids, status_of
from worker.podresources import pod_resources


async def test_a_container_has_what_its_plugin_answered(bench: Bench) -> None:
    plugin = await bench.plug("a")
    seen = await bench.sight(await bench.run())
    assert plugin.allocations == [("a",)]
    assert plugin.starts == [("a",)]
    name = bench.resource.partition("/")[2].upper()
    assert (seen.env[name], seen.env["SHARED"]) == ("a", name)
    assert seen.nodes["/dev/nic"] == "1:5"
    assert seen.mounts[f"/nics/{name}"] is True


async def test_of_two_answers_that_disagree_one_wins_and_the_pod_runs(bench: Bench) -> None:
    other = f"{bench.resource}x"
    await bench.plug("a")
    await bench.plug("g", resource=other)
    seen = await bench.sight(await bench.run(Container(limits={bench.resource: 1, other: 1})))
    first, second = (each.partition("/")[2].upper() for each in (bench.resource, other))
    assert (seen.env[first], seen.env[second]) == ("a", "g")
    assert seen.env["SHARED"] in {first, second}
    assert seen.nodes["/dev/nic"] == "1:5"


async def test_ids_come_in_any_order_and_a_device_is_never_given_twice(bench: Bench) -> None:
    plugin = await bench.plug(*"abcdef")
    pods = [await bench.create(Container(limits={bench.resource: 2})) for _ in range(3)]
    seen = [await bench.sight(await bench.running(pod)) for pod in pods]
    assert sorted("".join(",".join(ids(seen, bench.resource)).split(","))) == list("abcdef")
    assert sorted(each for asked in plugin.allocations for each in asked) == list("abcdef")
    assert bench.holdings().keys() == set("abcdef")


async def test_a_pod_for_which_there_is_no_device_fails(bench: Bench) -> None:
    await bench.plug("a")
    await bench.run()
    status = await bench.failed(await bench.create())
    assert status["reason"] == "UnexpectedAdmissionError"
    assert f"unavailable for {bench.resource}. Requested: 1, Available: 0" in status["message"]


async def test_a_deleted_pods_device_is_the_next_ones(bench: Bench) -> None:
    await bench.plug("a")
    first = await bench.run()
    await bench.delete(first)
    second = await bench.run()
    assert bench.holdings() == {"a": {second["metadata"]["uid"]}}


async def test_a_refused_allocation_fails_the_pod_and_frees_its_device(bench: Bench) -> None:
    plugin = await bench.plug("a")
    plugin.refuses_allocate = "no"
    status = await bench.failed(await bench.create())
    assert (status["reason"], status["message"]) == (
        "UnexpectedAdmissionError",
        "Pod was rejected: Allocate failed due to rpc error: code = FailedPrecondition desc = no, which is unexpected",
    )
    plugin.refuses_allocate = ""
    await bench.run()


async def test_a_pod_fails_while_its_plugin_is_away(bench: Bench) -> None:
    plugin = await bench.plug("a")
    await plugin.stop()
    await bench.counted(0, of=1)
    status = await bench.failed(await bench.create())
    assert f"no healthy devices present; cannot allocate unhealthy devices {bench.resource}" in status["message"]


async def test_a_container_that_may_not_start_is_tried_again_until_it_may(bench: Bench) -> None:
    plugin = await bench.plug("a")
    plugin.refuses_start = "StaleAllocation: another one"
    pod = await bench.create()
    waiting = await bench.waits(pod)
    assert waiting["reason"] == "CreateContainerConfigError"
    assert waiting["message"] == (
        "device plugin PreStartContainer rpc failed with err: "
        "rpc error: code = FailedPrecondition desc = StaleAllocation: another one"
    )
    plugin.refuses_start = ""
    await bench.running(pod)
    assert plugin.allocations == [("a",)]


async def test_an_init_container_gives_its_device_on_and_a_sidecar_keeps_its_own(bench: Bench) -> None:
    plugin = await bench.plug("a", "b")
    one = {bench.resource: 1}
    pod = await bench.run(
        Container("setup", one, init=True), Container("sidecar", one, sidecar=True), Container("main", one)
    )
    setup, sidecar, main = [await bench.sight(pod, name) for name in ("setup", "sidecar", "main")]
    given = ids([setup, sidecar, main], bench.resource)
    assert plugin.allocations == [(each,) for each in given]
    assert given[0] == given[1] != given[2]
    shown = await shown_of(bench, pod)
    assert holders(shown) == {"sidecar": [given[1]], "main": [given[2]]}


async def test_a_device_held_by_an_init_container_alone_stands_in_the_checkpoint_only(bench: Bench) -> None:
    await bench.plug("a")
    pod = await bench.run(Container("setup", {bench.resource: 1}, init=True), Container("main"))
    shown = await shown_of(bench, pod)
    assert holders(shown) == {"main": []}
    assert bench.holdings() == {"a": {pod["metadata"]["uid"]}}


async def test_two_containers_of_a_pod_have_a_device_each(bench: Bench) -> None:
    await bench.plug("a", "b")
    one = {bench.resource: 1}
    pod = await bench.run(Container("left", one), Container("right", one))
    seen = [await bench.sight(pod, name) for name in ("left", "right")]
    assert sorted(ids(seen, bench.resource)) == ["a", "b"]


async def test_a_pods_status_tells_its_devices_health(bench: Bench) -> None:
    plugin = await bench.plug("a")
    pod = await bench.run()

    def health(pod: Any) -> object:
        told = status_of(pod, "main").get("allocatedResourcesStatus", [])
        return [(each["name"], each["resources"]) for each in told]

    async def told(text: str) -> None:
        wanted = [(bench.resource, [{"resourceID": "a", "health": text}])]
        path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
        await bench.until(path, lambda pod: health(pod) == wanted, str(wanted))

    await told("Healthy")
    await plugin.list([], unhealthy=["a"])
    await told("Unhealthy")
    # Why a held device is never dropped from the list: what is missing is told to be healthy.
    await plugin.list(["b"])
    await told("Healthy")


async def test_a_preference_is_taken_where_it_may_be(bench: Bench) -> None:
    plugin = bench.plugin()
    plugin.preferred = ("d", "b")
    await plugin.serve()
    await plugin.list("abc", unhealthy="d")
    await plugin.register()
    await bench.counted(3, of=4)
    await bench.run()
    assert [call for call in plugin.calls if call[0] in {"GetPreferredAllocation", "Allocate"}] == [
        ("GetPreferredAllocation", ("a", "b", "c")),
        ("Allocate", ("b",)),
    ]


async def test_the_checkpoint_names_a_pod_that_is_gone_until_somebody_asks_who_holds_what(bench: Bench) -> None:
    plugin = await bench.plug("a")
    pod = await bench.run()
    await bench.delete(pod)
    await plugin.list(["a", "b"])
    await bench.counted(2)
    assert bench.holdings() == {"a": {pod["metadata"]["uid"]}}
    assert pod["metadata"]["name"] not in {each.name for each in await pod_resources(bench.worker.root)}
    await plugin.list(["a"])
    await eventually(lambda: bench.holdings() == {}, "the checkpoint still names it")


async def shown_of(bench: Bench, pod: Any) -> podresources_pb2.PodResources:
    shown = await pod_resources(bench.worker.root)
    return next(each for each in shown if each.name == pod["metadata"]["name"])


def holders(shown: podresources_pb2.PodResources) -> dict[str, list[str]]:
    return {
        container.name: [device_id for device in container.devices for device_id in device.device_ids]
        for container in shown.containers
    }
