"""The stand-in kubelet against a plugin with no mind of its own: what a real one does, in the order it does it."""
# ruff: noqa: ARG002, N802 - the fake plugin's names and arguments are gRPC's

import asyncio
import itertools
import json
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from subfunction.kubelet import checkpoint
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from subfunction.kubelet.podresources_pb2 import GetPodResourcesRequest, ListPodResourcesRequest, PodResources
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerStub
from subfunction_simulator.kubelet.device_manager.devices import GRACE_SECONDS
from subfunction_simulator.kubelet.device_manager.plugincalls import StartFailed
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.pods import Container, Pod

RESOURCE = "example.com/nic"
OTHER = "example.com/gpu"


class FakePlugin(DevicePluginServicer):
    """Lists what it is told to, allocates what it is asked for, and remembers every call."""

    def __init__(self, resource: str, folder: Path, endpoint: str) -> None:
        self.resource = resource
        self.endpoint = endpoint
        self.options = api.DevicePluginOptions(pre_start_required=True)
        self.calls: list[tuple[str, list[str]]] = []
        self.preferred: list[str] = []
        self.refusal = ""
        self._folder = folder
        self._devices: list[api.Device] = []
        self._changed = asyncio.Condition()
        self._serial = 0
        self._server = grpc.aio.server()

    async def start(self) -> None:
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._folder / self.endpoint}")
        await self._server.start()

    async def register(self, **changes: str) -> None:
        request = {"version": "v1beta1", "endpoint": self.endpoint, "resource_name": self.resource} | changes
        async with grpc.aio.insecure_channel(f"unix:{self._folder / 'kubelet.sock'}") as channel:
            await RegistrationStub(channel).Register(api.RegisterRequest(**request))  # type: ignore[arg-type]

    async def stop(self) -> None:
        await self._server.stop(None)

    async def list(self, *healthy: str, unhealthy: str = "", numa: dict[str, list[int]] | None = None) -> None:
        def device(device_id: str, health: str) -> api.Device:
            nodes = [api.NUMANode(ID=node) for node in (numa or {}).get(device_id, [])]
            return api.Device(ID=device_id, health=health, topology=api.TopologyInfo(nodes=nodes))

        async with self._changed:
            self._devices = [device(each, "Healthy") for each in healthy]
            self._devices += [device(each, "Unhealthy") for each in unhealthy]
            self._serial += 1
            self._changed.notify_all()

    async def GetDevicePluginOptions(self, request: api.Empty, context: object) -> api.DevicePluginOptions:
        return self.options

    async def ListAndWatch(self, request: api.Empty, context: object) -> AsyncIterator[api.ListAndWatchResponse]:
        sent = -1
        while True:
            async with self._changed:
                while sent == self._serial:
                    await self._changed.wait()
                sent = self._serial
            yield api.ListAndWatchResponse(devices=self._devices)

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: object
    ) -> api.PreferredAllocationResponse:
        [wanted] = request.container_requests
        self.calls.append(("prefer", sorted(wanted.available_deviceIDs)))
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=self.preferred)
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(
        self, request: api.AllocateRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> api.AllocateResponse:
        [wanted] = request.container_requests
        ids = list(wanted.devices_ids)
        self.calls.append(("allocate", ids))
        if self.refusal:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refusal)
        name = self.resource.partition("/")[2].upper()
        answer = api.ContainerAllocateResponse(
            envs={name: ",".join(sorted(ids)), "SHARED": name},
            devices=[api.DeviceSpec(container_path="/dev/x", host_path="/dev/null", permissions="rw")],
            mounts=[api.Mount(container_path="/m", host_path=f"/{name}", read_only=True)],
            cdi_devices=[api.CDIDevice(name="example.com/x=y")],
        )
        return api.AllocateResponse(container_responses=[answer])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> api.PreStartContainerResponse:
        self.calls.append(("start", sorted(request.devices_ids)))
        if self.refusal:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refusal)
        return api.PreStartContainerResponse()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def kubelet(root: Path, clock: Clock) -> AsyncIterator[Kubelet]:
    kubelet = Kubelet(root, clock=clock, chance=random.Random(1))
    await kubelet.start()
    yield kubelet
    await kubelet.stop()


@pytest.fixture
async def plugin(kubelet: Kubelet) -> AsyncIterator[FakePlugin]:
    plugin = FakePlugin(RESOURCE, kubelet.folder, "one.sock")
    await plugin.start()
    await plugin.register()
    yield plugin
    await plugin.stop()


async def allocatable(kubelet: Kubelet, count: int, *, of: int | None = None) -> None:
    counts = (count, count if of is None else of)
    await kubelet.until(lambda: (kubelet.allocatable().get(RESOURCE), kubelet.capacity().get(RESOURCE)) == counts)


_serials = itertools.count(1)


def pod(*containers: Container, name: str = "") -> Pod:
    name = name or f"pod-{next(_serials)}"
    return Pod(f"uid-{name}", "default", name, containers or (Container("app", {RESOURCE: 1}),))


def holdings(kubelet: Kubelet) -> list[tuple[str, str]]:
    found = checkpoint.read_checkpoint(kubelet.folder / checkpoint.CHECKPOINT)
    return sorted((holding.pod_uid, holding.device_id) for holding in found)


async def pod_resources(kubelet: Kubelet) -> list[PodResources]:
    async with grpc.aio.insecure_channel(f"unix:{kubelet.pod_resources}") as channel:
        answer = await PodResourcesListerStub(channel).List(ListPodResourcesRequest())
    return list(answer.pod_resources)


async def test_a_plugin_that_does_not_serve_yet_is_not_registered(kubelet: Kubelet) -> None:
    plugin = FakePlugin(RESOURCE, kubelet.folder, "one.sock")
    registering = asyncio.create_task(plugin.register())
    await kubelet.until(lambda: True)
    assert kubelet.capacity() == {}
    await plugin.start()
    await registering
    await kubelet.until(lambda: kubelet.capacity() == {RESOURCE: 0})
    await plugin.stop()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "v1alpha1"}, "not supported"),
        ({"resource_name": "nic"}, "invalid"),
        ({"resource_name": "kubernetes.io/nic"}, "invalid"),
        ({"resource_name": "requests.example.com/nic"}, "invalid"),
        ({"resource_name": "example.com/no good"}, "invalid"),
    ],
)
async def test_a_wrong_registration_is_refused(kubelet: Kubelet, changes: dict[str, str], complaint: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await FakePlugin(RESOURCE, kubelet.folder, "one.sock").register(**changes)
    assert complaint in str(refusal.value.details())


async def test_each_message_replaces_the_one_before(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a", "b", unhealthy="c")
    await allocatable(kubelet, 2, of=3)
    await plugin.list("c")
    await allocatable(kubelet, 1)


async def test_a_plugin_that_goes_leaves_its_capacity_for_five_minutes(
    kubelet: Kubelet, plugin: FakePlugin, clock: Clock
) -> None:
    await plugin.list("a", "b")
    await allocatable(kubelet, 2)
    await plugin.stop()
    await allocatable(kubelet, 0, of=2)
    clock.now += GRACE_SECONDS
    assert kubelet.capacity() == {RESOURCE: 2}
    clock.now += 1
    assert kubelet.capacity() == {}


async def test_a_pod_gets_random_devices_in_random_order(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list(*"abcdefgh")
    await allocatable(kubelet, 8)
    asked = []
    for _ in range(20):
        admitted = pod(Container("app", {RESOURCE: 3}))
        assert await kubelet.admit(admitted) is None
        asked.append(plugin.calls[-1][1])
        kubelet.remove(admitted.uid)
    assert len({frozenset(ids) for ids in asked}) > 5
    assert any(ids != sorted(ids) for ids in asked)


async def test_a_plugins_preference_is_taken_where_it_may_be(kubelet: Kubelet, plugin: FakePlugin) -> None:
    plugin.options.get_preferred_allocation_available = True
    await plugin.register()
    await plugin.list(*"abc", unhealthy="d")
    await allocatable(kubelet, 3, of=4)
    plugin.preferred = ["d", "b"]
    assert await kubelet.admit(pod()) is None
    assert plugin.calls == [("prefer", ["a", "b", "c"]), ("allocate", ["b"])]


async def test_a_device_is_never_given_twice_and_comes_back_when_its_pod_is_gone(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    first = pod()
    assert await kubelet.admit(first) is None
    refused = await kubelet.admit(pod())
    assert refused is not None
    assert "Requested: 1, Available: 0" in refused.message
    kubelet.remove(first.uid)
    assert await kubelet.admit(pod()) is None


async def test_a_refused_allocation_fails_the_pod_and_frees_its_devices(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    plugin.refusal = "no"
    refused = await kubelet.admit(pod())
    assert refused is not None
    assert (refused.reason, refused.message) == (
        "UnexpectedAdmissionError",
        "Pod was rejected: Allocate failed due to rpc error: code = FailedPrecondition desc = no, which is unexpected",
    )
    plugin.refusal = ""
    assert await kubelet.admit(pod()) is None


async def test_a_pod_fails_while_the_plugin_is_away(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    await plugin.stop()
    await allocatable(kubelet, 0, of=1)
    refused = await kubelet.admit(pod())
    assert refused is not None
    assert "no healthy devices present" in refused.message


async def test_a_container_gets_the_answers_of_all_its_resources_and_the_first_wins_a_conflict(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    other = FakePlugin(OTHER, kubelet.folder, "two.sock")
    await other.start()
    await other.register()
    await plugin.list("a")
    await other.list("g")
    await allocatable(kubelet, 1)
    await kubelet.until(lambda: kubelet.allocatable().get(OTHER) == 1)
    admitted = pod(Container("app", {RESOURCE: 1, OTHER: 1}, env={"NIC": "my own"}))
    assert await kubelet.admit(admitted) is None
    running = await kubelet.start_container(admitted.uid, "app")
    assert running.env == {"NIC": "my own", "GPU": "g", "SHARED": "NIC"}
    assert running.mounts == (("/m", "/NIC", True),)
    assert running.cdi == ("example.com/x=y",)
    [device] = running.devices
    assert (device.path, device.host_path, device.exists, device.numbers) == ("/dev/x", "/dev/null", True, "1:3")
    await other.stop()


async def test_a_restarted_container_gets_the_first_answer_again_and_its_plugin_is_asked_before(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    admitted = pod()
    assert await kubelet.admit(admitted) is None
    first = await kubelet.start_container(admitted.uid, "app")
    plugin.refusal = "another device by now"
    with pytest.raises(StartFailed, match=r"PreStartContainer rpc failed .* desc = another device by now"):
        await kubelet.start_container(admitted.uid, "app")
    plugin.refusal = ""
    assert await kubelet.start_container(admitted.uid, "app") == first
    assert [call for call, _ in plugin.calls] == ["allocate", "start", "start", "start"]


async def test_init_containers_give_their_devices_on_and_sidecars_keep_theirs(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a", "b")
    await allocatable(kubelet, 2)
    admitted = pod(
        Container("setup", {RESOURCE: 1}, init=True),
        Container("sidecar", {RESOURCE: 1}, init=True, restartable=True),
        Container("app", {RESOURCE: 1}),
    )
    assert await kubelet.admit(admitted) is None
    [setup], [sidecar], [app] = (ids for call, ids in plugin.calls if call == "allocate")
    assert setup == sidecar
    assert app != sidecar
    [shown] = await pod_resources(kubelet)
    assert [container.name for container in shown.containers] == ["sidecar", "app"]


async def test_the_checkpoint_names_who_holds_what_and_outlives_the_kubelet(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a", numa={"a": [0, 1]})
    await allocatable(kubelet, 1)
    admitted = pod(name="held")
    assert await kubelet.admit(admitted) is None
    assert holdings(kubelet) == [("uid-held", "a")]
    await kubelet.restart()
    assert holdings(kubelet) == [("uid-held", "a")]
    assert kubelet.capacity() == {RESOURCE: 0}
    [shown] = await pod_resources(kubelet)
    [container] = shown.containers
    assert [(list(each.device_ids), [node.ID for node in each.topology.nodes]) for each in container.devices] == [
        (["a"], [0]),
        (["a"], [1]),
    ]


async def test_the_checkpoint_still_names_a_pod_that_ended_until_the_kubelet_has_reason_to_write(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    admitted = pod(name="gone")
    assert await kubelet.admit(admitted) is None
    kubelet.remove(admitted.uid)
    await plugin.list("a", "b")
    await allocatable(kubelet, 2)
    assert holdings(kubelet) == [("uid-gone", "a")]
    assert await pod_resources(kubelet) == []
    assert holdings(kubelet) == [("uid-gone", "a")]
    await plugin.list("a")
    await allocatable(kubelet, 1)
    assert holdings(kubelet) == []


async def test_while_the_pods_are_not_known_yet_none_is_taken_for_ended(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    admitted = pod()
    assert await kubelet.admit(admitted) is None
    kubelet.remove(admitted.uid)
    kubelet.sources_ready = False
    await pod_resources(kubelet)
    await plugin.list("a", "b")
    await allocatable(kubelet, 2)
    assert len(holdings(kubelet)) == 1


async def test_a_restart_removes_every_socket_and_nothing_else(kubelet: Kubelet, plugin: FakePlugin) -> None:
    (kubelet.folder / "notes").write_text("kept")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(kubelet.folder / "dead.sock"))
    before = (kubelet.folder / "kubelet.sock").stat()
    await kubelet.restart()
    assert sorted(path.name for path in kubelet.folder.iterdir() if path.is_socket()) == ["kubelet.sock"]
    assert (kubelet.folder / "notes").read_text() == "kept"
    after = (kubelet.folder / "kubelet.sock").stat()
    assert (before.st_ino, before.st_ctime_ns) != (after.st_ino, after.st_ctime_ns)
    assert plugin.endpoint not in {path.name for path in kubelet.folder.iterdir()}


async def test_a_container_that_restarts_before_the_plugin_is_back_starts_unasked(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    """A hole in a real kubelet: it does not know yet that the plugin wants to be asked."""
    await plugin.list("a")
    await allocatable(kubelet, 1)
    admitted = pod()
    assert await kubelet.admit(admitted) is None
    first = await kubelet.start_container(admitted.uid, "app")
    await kubelet.restart()
    plugin.refusal = "never asked"
    assert await kubelet.start_container(admitted.uid, "app") == first


async def test_the_end_of_an_old_stream_disconnects_the_new_plugin_as_in_1_36(
    kubelet: Kubelet, plugin: FakePlugin
) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    successor = FakePlugin(RESOURCE, kubelet.folder, "two.sock")
    await successor.start()
    await successor.list("a", "b")
    await successor.register()
    await allocatable(kubelet, 2)
    await plugin.stop()
    await allocatable(kubelet, 0, of=2)
    await successor.stop()


async def test_one_pods_resources_can_be_asked_for(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a")
    await allocatable(kubelet, 1)
    assert await kubelet.admit(pod(name="known")) is None
    async with grpc.aio.insecure_channel(f"unix:{kubelet.pod_resources}") as channel:
        stub = PodResourcesListerStub(channel)
        answer = await stub.Get(GetPodResourcesRequest(pod_name="known", pod_namespace="default"))
        assert answer.pod_resources.containers[0].devices[0].resource_name == RESOURCE
        with pytest.raises(grpc.aio.AioRpcError, match="not found"):
            await stub.Get(GetPodResourcesRequest(pod_name="unknown", pod_namespace="default"))


async def test_what_a_pod_lacks_is_counted_as_a_scheduler_would(kubelet: Kubelet, plugin: FakePlugin) -> None:
    await plugin.list("a", "b")
    await allocatable(kubelet, 2)
    assert await kubelet.admit(pod()) is None
    one = Container("setup", {RESOURCE: 1}, init=True), Container("app", {RESOURCE: 1})
    assert kubelet.missing(pod(*one)) == {}
    assert kubelet.missing(pod(Container("app", {RESOURCE: 2, OTHER: 1}))) == {RESOURCE: 1, OTHER: 1}


def test_a_pod_is_read_as_the_api_server_gives_it() -> None:
    manifest = json.loads(
        """{"metadata": {"uid": "u", "namespace": "ns", "name": "n"}, "spec": {
        "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"limits": {"example.com/nic": 1}}}],
        "containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}, {"name": "X", "valueFrom": {}}],
                        "resources": {"limits": {"example.com/nic": "2", "memory": "1Gi", "cpu": "500m"}}}]}}"""
    )
    assert Pod.of(manifest) == Pod(
        "u",
        "ns",
        "n",
        (
            Container("s", {"example.com/nic": 1}, init=True, restartable=True),
            Container("c", {"example.com/nic": 2}, env={"A": "b"}, image="i"),
        ),
    )


def test_waiting_for_what_does_not_come_ends_with_an_error(root: Path) -> None:
    async def wait() -> None:
        await Kubelet(root).until(lambda: False, timeout=0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(wait())
