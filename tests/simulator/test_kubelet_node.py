"""The stand-in kubelet as a node of an API server: its Node object, and its pods from binding to deletion."""
# ruff: noqa: ARG002, N802 - the fake plugin's names and arguments are gRPC's

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import yaml

from subfunction.errors import SubFunctionError
from subfunction.kubelet import checkpoint
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)
from subfunction_simulator.apiserver import ApiServer
from subfunction_simulator.apiserver.client import Answer, Client
from subfunction_simulator.kubelet.access import Access
from subfunction_simulator.kubelet.node import run
from subfunction_simulator.kubelet.settings import KubeletSettings

RESOURCE = "example.com/nic"
NODE = "/api/v1/nodes/n1"
PODS = "/api/v1/namespaces/default/pods"
POD = f"{PODS}/worker"


class Plugin(DevicePluginServicer):
    """One plugin with the devices that it is made with."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids
        self.refuse_allocate = ""
        self.refuse_start = ""
        self._server = grpc.aio.server()

    async def start(self, folder: Path) -> None:
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{folder / 'plugin.sock'}")
        await self._server.start()
        request = api.RegisterRequest(version="v1beta1", endpoint="plugin.sock", resource_name=RESOURCE)
        async with grpc.aio.insecure_channel(f"unix:{folder / 'kubelet.sock'}") as channel:
            await RegistrationStub(channel).Register(request, wait_for_ready=True, timeout=10)

    async def stop(self) -> None:
        await self._server.stop(None)

    async def GetDevicePluginOptions(self, request: api.Empty, context: object) -> api.DevicePluginOptions:
        return api.DevicePluginOptions(pre_start_required=True)

    async def ListAndWatch(self, request: api.Empty, context: object) -> AsyncIterator[api.ListAndWatchResponse]:
        yield api.ListAndWatchResponse(devices=[api.Device(ID=each, health="Healthy") for each in self.ids])
        await asyncio.Event().wait()

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: object
    ) -> api.PreferredAllocationResponse:
        return api.PreferredAllocationResponse()

    async def Allocate(
        self, request: api.AllocateRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> api.AllocateResponse:
        if self.refuse_allocate:
            await context.abort(grpc.StatusCode.NOT_FOUND, self.refuse_allocate)
        [wanted] = request.container_requests
        nodes = [("/dev/null", "/dev/null"), ("/dev/nic", "/nowhere")]
        answer = api.ContainerAllocateResponse(
            envs={"NIC": ",".join(sorted(wanted.devices_ids))},
            devices=[api.DeviceSpec(container_path=to, host_path=of, permissions="rw") for to, of in nodes],
        )
        return api.AllocateResponse(container_responses=[answer])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> api.PreStartContainerResponse:
        if self.refuse_start:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuse_start)
        return api.PreStartContainerResponse()


class Rig:
    """A node that can be started and stopped over the same folder."""

    def __init__(self, root: Path, client: Client, settings: KubeletSettings) -> None:
        self.root = root
        self.client = client
        self._settings = settings
        self._node: asyncio.Task[None] | None = None
        self._plugins: list[Plugin] = []

    async def start(self) -> None:
        self._node = asyncio.create_task(run(self._settings))
        await self.until(NODE, lambda node: "allocatable" in node.get("status", {}))

    async def stop(self) -> None:
        for plugin in self._plugins:
            await plugin.stop()
        if self._node is not None:
            self._node.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._node

    async def plug(self, *ids: str) -> Plugin:
        plugin = Plugin(*ids)
        self._plugins.append(plugin)
        await plugin.start(self.root / "device-plugins")
        await self.until(NODE, lambda node: node["status"]["allocatable"].get(RESOURCE) == str(len(ids)))
        return plugin

    async def create(self, name: str = "worker", *, node: str = "n1", count: int = 1) -> dict[str, Any]:
        container = {"name": "main", "image": "box", "resources": {"limits": {RESOURCE: str(count), "cpu": "1"}}}
        spec = {"nodeName": node, "containers": [container]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        answer = await self.client("POST", PODS, body)
        assert answer.code == 201, answer.body
        return answer.body

    async def until(self, path: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read an object until it is as wanted; nothing announces it to a test more cheaply."""
        answer: Answer | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                while True:
                    answer = await self.client("GET", path)
                    if answer.code == 200 and condition(answer.body):
                        return answer.body
                    await asyncio.sleep(0.01)
        pytest.fail(f"{path} is {answer and answer.body}")

    async def phase(self, phase: str, path: str = POD) -> dict[str, Any]:
        return await self.until(path, lambda pod: pod.get("status", {}).get("phase") == phase)

    async def wait_until_gone(self, folder: str) -> None:
        path, deadline = self.root / "pods" / folder, time.monotonic() + 10
        while path.exists():
            assert time.monotonic() < deadline, f"{path} is still there"
            await asyncio.sleep(0.01)


@pytest.fixture
async def rig(root: Path, api_server: ApiServer) -> AsyncIterator[Rig]:
    settings = KubeletSettings(root=root, node_name="n1", server=api_server.url, restart_pause=0.05)
    async with aiohttp.ClientSession() as session:
        rig = Rig(root, Client(session, api_server.url), settings)
        await rig.start()
        yield rig
        await rig.stop()


async def test_it_makes_its_node_and_counts_the_devices_in_it(rig: Rig) -> None:
    plugin = await rig.plug("a", "b")
    node = (await rig.client("GET", NODE)).body
    assert node["status"]["capacity"][RESOURCE] == "2"
    assert {each["type"]: each["status"] for each in node["status"]["conditions"]} == {"Ready": "True"}
    await plugin.stop()
    node = await rig.until(NODE, lambda node: node["status"]["allocatable"][RESOURCE] == "0")
    assert node["status"]["capacity"][RESOURCE] == "2"


async def test_a_pod_runs_and_shows_what_its_container_sees(rig: Rig) -> None:
    await rig.plug("a")
    await rig.create()
    pod = await rig.phase("Running")
    assert {each["type"]: each["status"] for each in pod["status"]["conditions"]} == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }
    [container] = pod["status"]["containerStatuses"]
    assert (container["name"], container["ready"]) == ("main", True)
    assert json.loads(pod["metadata"]["annotations"]["simulator.subfunction.dev/main"]) == {
        "env": {"NIC": "a"},
        "devices": ["/dev/null rw (1:3)", "/dev/nic rw (missing on the host)"],
    }
    written = json.loads((rig.root / "pods" / "default_worker" / "main.json").read_text())
    assert written["env"] == {"NIC": "a"}
    assert [(each["path"], each["exists"], each["numbers"]) for each in written["devices"]] == [
        ("/dev/null", True, "1:3"),
        ("/dev/nic", False, None),
    ]


async def test_a_deleted_pod_gives_its_device_to_the_next_one(rig: Rig) -> None:
    await rig.plug("a")
    await rig.create()
    await rig.phase("Running")
    await rig.client("DELETE", POD)
    await rig.wait_until_gone("default_worker")
    await rig.create("next")
    await rig.phase("Running", f"{PODS}/next")


async def test_a_pod_that_is_being_deleted_is_let_go_and_its_object_with_it(rig: Rig) -> None:
    await rig.plug("a")
    await rig.create()
    await rig.phase("Running")
    held = {"metadata": {"finalizers": ["example.com/wait"]}}
    assert (await rig.client.merge(POD, held)).code == 200
    await rig.client("DELETE", POD)
    await rig.wait_until_gone("default_worker")
    assert (await rig.client.merge(POD, {"metadata": {"finalizers": None}})).code == 200
    assert (await rig.client("GET", POD)).code == 404


async def test_a_pod_waits_for_a_device_and_runs_when_there_is_one(rig: Rig) -> None:
    await rig.create()
    pod = await rig.until(POD, lambda pod: "conditions" in pod.get("status", {}))
    assert pod["status"]["phase"] == "Pending"
    [condition] = pod["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == (
        "Unschedulable",
        "0/1 nodes are available: 1 Insufficient example.com/nic.",
    )
    await rig.plug("a")
    await rig.phase("Running")


async def test_a_refused_pod_is_failed_with_the_plugins_words(rig: Rig) -> None:
    plugin = await rig.plug("a")
    plugin.refuse_allocate = "UnknownDevice: no such thing"
    await rig.create()
    pod = await rig.phase("Failed")
    assert pod["status"]["reason"] == "UnexpectedAdmissionError"
    assert "code = NotFound desc = UnknownDevice: no such thing" in pod["status"]["message"]


async def test_a_container_that_may_not_start_is_tried_again_until_it_may(rig: Rig) -> None:
    plugin = await rig.plug("a")
    plugin.refuse_start = "StaleAllocation: another one"
    await rig.create()
    pod = await rig.until(POD, lambda pod: "containerStatuses" in pod.get("status", {}))
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerConfigError"
    assert "StaleAllocation: another one" in waiting["message"]
    plugin.refuse_start = ""
    await rig.phase("Running")


async def test_pods_of_other_nodes_are_none_of_its_business(rig: Rig) -> None:
    await rig.plug("a")
    await rig.create("elsewhere", node="n2")
    await rig.create()
    await rig.phase("Running")
    assert "conditions" not in (await rig.client("GET", f"{PODS}/elsewhere")).body.get("status", {})


async def test_a_node_that_is_started_again_keeps_the_devices_of_its_running_pods(rig: Rig) -> None:
    plugin = await rig.plug("a", "b")
    first = await rig.create()
    await rig.phase("Running")
    await rig.stop()
    await plugin.stop()
    await rig.start()
    plugin = await rig.plug("a", "b")
    second = await rig.create("next")
    await rig.phase("Running", f"{PODS}/next")
    held = checkpoint.read_checkpoint(rig.root / "device-plugins" / checkpoint.CHECKPOINT)
    assert {each.pod_uid for each in held} == {first["metadata"]["uid"], second["metadata"]["uid"]}
    assert {each.device_id for each in held} == {"a", "b"}


async def test_an_api_server_that_goes_and_comes_back_is_found_again(rig: Rig, api_server: ApiServer) -> None:
    await rig.plug("a")
    await api_server.stop()
    await api_server.start()
    await rig.create()
    await rig.phase("Running")


def test_a_kubeconfig_leads_to_the_server(tmp_path: Path) -> None:
    server = ApiServer(port=4711, token="secret")
    config = tmp_path / "config"
    config.write_text(server.kubeconfig())
    settings = KubeletSettings(root=tmp_path, kubeconfig=config)
    assert Access.of(settings) == Access("http://127.0.0.1:4711", "secret")


def test_a_kubeconfig_says_whom_to_trust(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(_kubeconfig("https://10.0.0.1:6443", base64.b64encode(b"a certificate").decode()))
    access = Access.of(KubeletSettings(root=tmp_path, kubeconfig=config))
    assert access == Access("https://10.0.0.1:6443", "secret", "a certificate")


def test_a_certificate_that_is_none_is_refused_by_the_kubeconfigs_name(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(_kubeconfig("https://10.0.0.1:6443", "no base64"))
    with pytest.raises(SubFunctionError, match=str(config)):
        Access.of(KubeletSettings(root=tmp_path, kubeconfig=config))


def _kubeconfig(server: str, authority: str) -> str:
    config = yaml.safe_load(ApiServer(port=4711, token="secret").kubeconfig())
    config["clusters"][0]["cluster"] = {"server": server, "certificate-authority-data": authority}
    return str(yaml.safe_dump(config))


@pytest.mark.parametrize("text", ["", "{", "current-context: x", "[]"])
def test_a_file_that_is_no_kubeconfig_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(SubFunctionError, match=str(config)):
        Access.of(KubeletSettings(root=tmp_path, kubeconfig=config))


def test_without_an_api_server_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SubFunctionError, match="--kubeconfig"):
        Access.of(KubeletSettings(root=tmp_path))
