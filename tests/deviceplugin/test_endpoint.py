"""Registered at once, and again by itself, whatever becomes of kubelet and sockets."""

import asyncio
import contextlib
import socket
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from tests.deviceplugin.conftest import RESOURCE, Node

from rig.waiting import eventually
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import (
    RegistrationServicer,
    add_RegistrationServicer_to_server,
)
from subfunction_deviceplugin import main
from subfunction_simulator.kubelet.kubelet import Kubelet


@pytest.fixture(params=[True, False], ids=["by a call", "by the plugin watcher"])
async def node(root: Path, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    node = Node(root, called=request.param)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(node.stop)
        yield node


def sockets(node: Node) -> list[Path]:
    return sorted(node.sockets.glob("subfunction-*.sock"))


def registrations(node: Node) -> int:
    assert isinstance(node.kubelet, Kubelet)
    return node.kubelet.registration.connections


@pytest.fixture
async def ready(node: Node) -> Node:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)
    return node


async def test_its_socket_is_its_users_alone_and_gone_when_it_stops(ready: Node) -> None:
    [ours] = sockets(ready)
    assert stat.S_IMODE(ours.stat().st_mode) == 0o600
    await ready.stop_plugin()
    assert sockets(ready) == []
    await ready.allocatable(0, of=1)


async def test_it_registers_once(ready: Node) -> None:
    ready.agent.device("b", "mlx5_core.sf.5")
    await ready.allocatable(2)
    assert registrations(ready) == 1


async def test_each_resource_has_a_socket_of_its_own(ready: Node) -> None:
    ready.agent.device("v", "vdpa0", resource="subfunction.dev/virtio")
    await ready.allocatable(1, resource="subfunction.dev/virtio")
    assert len(sockets(ready)) == 2


async def test_it_waits_for_a_kubelet_that_is_not_there_yet(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_plugin()
    await asyncio.sleep(0)
    await node.start_kubelet()
    await node.allocatable(1)


async def test_it_waits_for_a_kubelet_that_left_a_dead_socket(node: Node) -> None:
    node.agent.device("a", "mlx5_core.sf.4")
    folder = node.root / "device-plugins"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "kubelet.sock"))
    await node.start_plugin()
    await eventually(lambda: any(node.root.rglob("subfunction-*.sock")), "it has tried")
    await node.start_kubelet()
    await node.allocatable(1)


async def test_it_is_back_after_the_kubelet_restarted_twice(ready: Node) -> None:
    for _ in range(2):
        await ready.kubelet.restart()
        await ready.allocatable(1)
        assert len(sockets(ready)) == 1


async def test_it_is_back_after_the_kubelet_restarted_twice_at_once(ready: Node) -> None:
    await ready.kubelet.restart()
    await ready.kubelet.restart()
    await ready.allocatable(1)
    await eventually(lambda: len(sockets(ready)) == 1, "one socket")


async def test_with_the_folder_wiped_it_serves_on_and_is_back_after_the_kubelet_restarted(ready: Node) -> None:
    for path in (ready.root / "device-plugins").iterdir():
        path.unlink()
    await ready.run()
    assert registrations(ready) == 1
    await ready.kubelet.restart()
    await ready.allocatable(1)


# By the watcher the stream ends with the socket.
@pytest.mark.parametrize("node", [True], ids=["by a call"], indirect=True)
async def test_a_device_handed_out_over_a_deleted_socket_is_served_until_the_stream_ends(ready: Node) -> None:
    assert isinstance(ready.kubelet, Kubelet)
    [ours] = sockets(ready)
    ours.unlink()
    await ready.run()
    await ready.kubelet.registration.plugins[RESOURCE].close()
    await ready.kubelet.until(lambda: registrations(ready) == 2)
    await ready.allocatable(1)
    [successor] = sockets(ready)
    assert successor != ours


async def test_it_is_back_after_the_kubelet_ended_its_stream(ready: Node) -> None:
    assert isinstance(ready.kubelet, Kubelet)
    await ready.kubelet.registration.plugins[RESOURCE].close()
    await ready.kubelet.until(lambda: registrations(ready) == 2)
    await ready.allocatable(1)


async def test_it_is_back_after_its_kubelet_took_the_end_of_an_old_stream_for_its_own(ready: Node) -> None:
    """The race of kubelets up to 1.36: a second registration, and then the first one's stream ends."""
    assert isinstance(ready.kubelet, Kubelet)
    [ours] = sockets(ready)
    first = ready.kubelet.registration.plugins[RESOURCE]
    await ready.kubelet.registration.connect(RESOURCE, ours)
    await first.close()
    await ready.kubelet.until(lambda: registrations(ready) == 3)
    await ready.allocatable(1)


class DeafKubelet(RegistrationServicer):
    """Takes every registration and never opens a stream."""

    def __init__(self) -> None:
        self.registrations: list[str] = []

    async def Register(self, request: api.RegisterRequest, context: object) -> api.Empty:  # noqa: ARG002, N802 - gRPC's
        self.registrations.append(request.endpoint)
        return api.Empty()


async def test_it_registers_again_when_no_stream_is_opened(node: Node) -> None:
    deaf, server = DeafKubelet(), grpc.aio.server()
    add_RegistrationServicer_to_server(deaf, server)
    (node.root / "device-plugins").mkdir()
    server.add_insecure_port(f"unix:{node.root / 'device-plugins' / 'kubelet.sock'}")
    await server.start()
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_plugin(stream_wait=0.05)
    await eventually(lambda: len(deaf.registrations) == 3, "three registrations")
    assert len(set(deaf.registrations)) == 3
    assert len([*node.root.rglob("subfunction-*.sock")]) <= 1
    await node.stop_plugin()
    await server.stop(None)


async def test_a_kubelet_that_can_be_called_is_called_at_once_though_its_registry_was_there_first(root: Path) -> None:
    node = Node(root)
    registry = root / "plugins_registry"
    registry.mkdir()  # of the boot before
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_plugin()
    await eventually(lambda: any(registry.iterdir()), "its socket is where a watcher would find it")
    await node.start_kubelet()
    await node.allocatable(1)
    await eventually(lambda: not any(registry.iterdir()), "its socket has left the registry")
    assert len(sockets(node)) == 1
    await node.stop()


async def test_while_no_kubelet_runs_it_waits_where_the_next_one_looks(root: Path) -> None:
    node = Node(root, called=False)
    node.sockets.mkdir()
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_plugin()
    await eventually(lambda: len(sockets(node)) == 1, "its socket is there")
    [ours] = sockets(node)
    await asyncio.sleep(0.7)  # longer than it waits for a stream
    assert sockets(node) == [ours]
    await node.start_kubelet()
    await node.allocatable(1)
    await node.stop()


async def test_a_name_that_the_kubelet_refuses_does_not_keep_the_others_away(node: Node) -> None:
    node.agent.names("subfunction.dev/no good")
    node.agent.device("a", "mlx5_core.sf.4")
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1)


async def test_a_path_too_long_for_a_socket_gets_a_short_name(node: Node) -> None:
    resource = f"subfunction.dev/{'x' * 60}"
    node.agent.device("a", "mlx5_core.sf.4", resource=resource)
    await node.start_kubelet()
    await node.start_plugin()
    await node.allocatable(1, resource=resource)


def test_a_live_sibling_whose_queue_is_full_is_left_alone_at_once(root: Path) -> None:
    dead, alive = root / "subfunction-a-1.sock", root / "subfunction-b-1.sock"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(dead))
    with socket.socket(socket.AF_UNIX) as sibling, socket.socket(socket.AF_UNIX) as caller:
        sibling.bind(str(alive))
        sibling.listen(0)
        caller.connect(str(alive))
        began = time.monotonic()
        main.remove_dead_sockets(root)
        assert time.monotonic() - began < 5
        assert (dead.exists(), alive.exists()) == (False, True)
