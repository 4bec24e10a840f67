"""What the kernel announces of devices, in the order that we rely on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from tests.contract.instruments import find_vdpa
from tests.contract.node import Node

from subfunction.kernel.address import Handle
from subfunction.kernel.bus import driver_binding
from subfunction.kernel.bus.mdev import create, derive_uuid, list_types, remove
from subfunction.kernel.bus.vdpa import BUS, VdpaSettings, derive_vdpa_name
from subfunction.kernel.monitor.multicast import Overrun
from subfunction.kernel.monitor.uevent import Uevent, monitor_uevents

NAME = derive_vdpa_name("one")


class Heard:
    """The events of a node, as they come."""

    def __init__(self, events: AsyncIterator[Uevent | Overrun]) -> None:
        self._events = events

    async def until(self, good: Callable[[Uevent], bool], *, seconds: float = 20) -> list[Uevent]:
        """Give the events up to the first good one; a node's other devices speak too."""
        heard: list[Uevent] = []
        async with asyncio.timeout(seconds):
            async for event in self._events:
                assert isinstance(event, Uevent), event
                heard.append(event)
                if good(event):
                    break
        return heard


@contextlib.asynccontextmanager
async def listening(node: Node) -> AsyncIterator[Heard]:
    async with contextlib.aclosing(monitor_uevents(node.netlink.transport)) as events:
        assert isinstance(await anext(events), Overrun)
        yield Heard(events)


def is_(action: str, name: str) -> Callable[[Uevent], bool]:
    return lambda event: (event.action, event.name) == (action, name)


def of(events: list[Uevent], subsystem: str) -> list[str]:
    return [event.action for event in events if event.subsystem == subsystem]


@pytest.mark.needs("mlx5")
async def test_a_function_that_attaches_is_added_and_last_of_all_bound(node: Node) -> None:
    port = node.new(88)
    async with listening(node) as heard:
        instance = await asyncio.to_thread(node.attach, port)
        events = await heard.until(is_("bind", instance.device))
    ours = [event for event in events if event.name == instance.device and event.action in {"add", "bind"}]
    assert [event.action for event in ours] == ["add", "bind"]
    assert {event.path for event in ours} == {node.path(instance)}
    assert {event.subsystem for event in ours} == {"auxiliary"}
    assert ours[-1].driver == "mlx5_core.sf"


@pytest.mark.needs("mlx5")
async def test_the_netdev_and_the_verbs_device_of_a_reload_are_added(node: Node) -> None:
    instance = node.attach(node.new(88))
    async with listening(node) as heard:
        await asyncio.to_thread(node.load, instance)
        added: set[str] = set()
        while not {"net", "infiniband_verbs"} <= added:
            (*_, event) = await heard.until(lambda event: event.action == "add")
            if event.path.startswith(f"{node.path(instance)}/"):
                added.add(event.subsystem)


@pytest.mark.needs("mlx5")
async def test_a_function_that_lets_go_is_unbound_then_removed_after_its_netdev(node: Node) -> None:
    port = node.new(88)
    instance = node.attach(port)
    node.load(instance)
    path = node.path(instance)
    async with listening(node) as heard:
        await asyncio.to_thread(node.detach, port)
        events = await heard.until(is_("remove", instance.device))
    ours = [(event.action, event.subsystem) for event in events if event.path.startswith(path)]
    assert ours[-2:] == [("unbind", "auxiliary"), ("remove", "auxiliary")]
    assert ("remove", "net") in ours[:-2]


@pytest.mark.needs("mlx5")
async def test_a_representor_comes_and_goes_under_its_parent(node: Node) -> None:
    async with listening(node) as heard:
        port = await asyncio.to_thread(node.new, 88)
        name = node.representor(port).name
        await asyncio.to_thread(node.devlink.delete_port, port.handle, port.index)
        events = await heard.until(lambda event: event.action == "remove" and event.subsystem == "net")
    net = [event for event in events if event.subsystem == "net"]
    assert net[0].action == "add"
    assert net[0].path.startswith(f"{node.path(node.parent)}/net/")
    assert net[-1].name == name


def bound(node: Node, driver: str) -> None:
    """Bind the device, from whatever it is bound to."""
    driver_binding.override(node.sysfs, BUS, NAME, driver)
    device = find_vdpa(node.sysfs, NAME)
    assert device is not None
    if device.driver not in {None, driver}:
        driver_binding.unbind(node.sysfs, BUS, NAME, str(device.driver))
    if device.driver != driver:
        driver_binding.probe(node.sysfs, BUS, NAME)


def managed(node: Node) -> Handle:
    instance = node.attach(node.new(88))
    node.load(instance, "enable_vnet")
    return instance


@pytest.mark.needs("vdpa")
async def test_a_vdpa_device_is_added_then_bound_under_its_function(node: Node) -> None:
    instance = managed(node)
    async with listening(node) as heard:
        await asyncio.to_thread(node.vdpa.add, NAME, instance, VdpaSettings())
        events = await heard.until(is_("bind", NAME))
    ours = [event for event in events if event.name == NAME]
    assert [event.action for event in ours] == ["add", "bind"]
    assert {(event.subsystem, event.path) for event in ours} == {("vdpa", f"{node.path(instance)}/{NAME}")}
    assert ours[-1].driver in {"vhost_vdpa", "virtio_vdpa"}


@pytest.mark.needs("vdpa")
async def test_a_rebound_vdpa_device_is_unbound_then_bound_with_the_virtio_netdev_between(node: Node) -> None:
    node.vdpa.add(NAME, managed(node), VdpaSettings())
    bound(node, "vhost_vdpa")
    async with listening(node) as heard:
        await asyncio.to_thread(bound, node, "virtio_vdpa")
        unbound = await heard.until(is_("unbind", NAME))
        events = await heard.until(is_("bind", NAME))
    assert "net" not in {event.subsystem for event in unbound}
    virtio = [event for event in events if event.path.startswith(f"{node.path(node.parent)}/virtio")]
    assert ("add", "virtio") in [(event.action, event.subsystem) for event in virtio]
    assert ("add", "net") in [(event.action, event.subsystem) for event in virtio]
    assert events[-1].driver == "virtio_vdpa"


@pytest.mark.needs("vdpa")
async def test_a_deleted_vdpa_device_is_unbound_then_removed(node: Node) -> None:
    node.vdpa.add(NAME, managed(node), VdpaSettings())
    async with listening(node) as heard:
        await asyncio.to_thread(node.vdpa.delete, NAME)
        events = await heard.until(is_("remove", NAME))
    assert [event.action for event in events if event.name == NAME] == ["unbind", "remove"]


@pytest.mark.needs("mediated")
async def test_a_mediated_device_is_added_then_bound_and_in_the_end_removed(node: Node) -> None:
    handle = next((parent for parent in node.parents if list_types(node.sysfs, parent)), None)
    handle = handle or node.attach(node.new(88))
    uuid = derive_uuid("one")
    async with listening(node) as heard:
        await asyncio.to_thread(create, node.sysfs, handle, list_types(node.sysfs, handle)[0].id, uuid)
        events = await heard.until(is_("bind", uuid))
        await asyncio.to_thread(remove, node.sysfs, uuid)
        events += await heard.until(is_("remove", uuid))
    assert [event.action for event in events if event.name == uuid] == ["add", "bind", "unbind", "remove"]
    assert set(of([event for event in events if event.name == uuid], "mdev")) == {"add", "bind", "unbind", "remove"}
    assert "add" in of(events, "vfio")
