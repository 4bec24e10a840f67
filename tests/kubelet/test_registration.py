"""A plugin at its kubelet: registered, listed, gone, replaced."""

import asyncio
import socket

import grpc
import pytest

from worker.bench import Bench, eventually


async def test_a_plugin_is_dialled_before_its_registration_is_answered(bench: Bench) -> None:
    plugin = bench.plugin()
    await plugin.list(["a"])
    registering = asyncio.create_task(plugin.register())
    _, pending = await asyncio.wait([registering], timeout=0.3)
    assert pending, "answered though nobody serves"
    await plugin.serve()
    await registering
    assert plugin.calls == [("GetDevicePluginOptions", ())]
    await bench.counted(1)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "v1alpha1"}, 'version "v1alpha1" is not supported by kubelet. Supported version is ["v1beta1"]'),
        ({"resource_name": "nic"}, 'the ResourceName "nic" is invalid'),
        ({"resource_name": "kubernetes.io/nic"}, "is invalid"),
        ({"resource_name": "requests.example.com/nic"}, "is invalid"),
        ({"resource_name": "example.com/no good"}, "is invalid"),
    ],
)
async def test_a_wrong_registration_is_refused(bench: Bench, changes: dict[str, str], complaint: str) -> None:
    plugin = bench.plugin()
    await plugin.serve()
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await plugin.register(**changes)
    assert refusal.value.code() is grpc.StatusCode.UNKNOWN
    assert complaint in str(refusal.value.details())


async def test_a_resource_is_counted_with_its_first_list_and_each_list_replaces_the_one_before(bench: Bench) -> None:
    plugin = bench.plugin()
    await plugin.serve()
    await plugin.register()
    await bench.counted(None)
    await plugin.list(["a", "b"], unhealthy=["c"])
    await bench.counted(2, of=3)
    await plugin.list(["c"])
    await bench.counted(1)
    await plugin.list([])
    await bench.counted(0)


async def test_a_plugin_that_goes_leaves_its_capacity(bench: Bench) -> None:
    plugin = await bench.plug("a", "b")
    await plugin.stop()
    await bench.counted(0, of=2)


async def test_the_end_of_an_old_stream_disconnects_the_new_plugin(bench: Bench) -> None:
    """kubernetes/kubernetes#127803, in 1.36: why a plugin looks whether a stream is open, and registers again."""
    old = await bench.plug("a")
    new = await bench.plug("a", "b")
    await old.stop()
    await bench.counted(0, of=2)
    await eventually(lambda: new.streams == 0, "the new plugin's stream is still open")
    await new.register()
    await bench.counted(2)


async def test_a_restart_removes_every_socket_and_nothing_else(bench: Bench) -> None:
    plugin = await bench.plug("a")
    (bench.folder / "notes").write_text("kept")
    (bench.folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(bench.folder / "dead.sock"))
    await bench.restart_kubelet()
    names = {path.name for path in bench.folder.iterdir()}
    assert {"notes", "folder", "kubelet.sock", "kubelet_internal_checkpoint"} <= names
    assert {"dead.sock", plugin.endpoint}.isdisjoint(names)
    assert (bench.folder / "notes").read_text() == "kept"
    (bench.folder / "notes").unlink()
    (bench.folder / "folder").rmdir()


async def test_after_a_restart_a_resource_has_no_devices_until_its_plugin_is_back(bench: Bench) -> None:
    plugin = await bench.plug("a", "b")
    await bench.restart_kubelet()
    await bench.counted(0)
    await plugin.stop()
    await bench.plug("a", "b")
