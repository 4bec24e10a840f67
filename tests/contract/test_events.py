"""What the kernel announces on devlink's multicast group, and what it keeps to itself."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable

import pytest
from tests.contract.node import Node

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import BUS
from subfunction.kernel.monitor.devlink import (
    Event,
    InstanceChanged,
    Overrun,
    PortChanged,
    PortDeleted,
    monitor_devlink,
)
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.uapi import EswitchMode, PortFlavour

pytestmark = pytest.mark.needs("mlx5")
MAC = Mac.parse("02:00:00:00:88:88")


class Heard:
    """The events of a node, as they come."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self._events = events

    async def until(self, good: Callable[[Event], bool], *, seconds: float = 20) -> list[Event]:
        """Give the events up to the first good one."""
        heard: list[Event] = []
        async with asyncio.timeout(seconds):
            async for event in self._events:
                heard.append(event)
                if good(event):
                    break
        return heard


@contextlib.asynccontextmanager
async def listening(node: Node) -> AsyncIterator[Heard]:
    # The look-up of the family runs in a thread of its own, so it gets a socket of its own.
    netlink = Netlink(node.netlink.transport)
    events = monitor_devlink(netlink)
    with contextlib.closing(netlink):
        async with contextlib.aclosing(events):
            heard = Heard(events)
            assert isinstance((await heard.until(lambda _: True))[0], Overrun)
            yield heard


def ports(events: list[Event], index: int) -> list[Port]:
    return [event.port for event in events if isinstance(event, PortChanged) and event.port.index == index]


async def test_the_first_event_says_that_the_past_is_unknown(node: Node) -> None:
    async with listening(node):
        pass


async def test_a_monitor_that_is_closed_leaves_nothing_in_the_loop(node: Node) -> None:
    loop, complaints = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    for number in (1, 2, 3):
        async with listening(node) as heard:
            node.new(number)
            await heard.until(lambda event: isinstance(event, PortChanged))
        gc.collect()
        # The generators' own clean-up, if any was left to the loop, runs before a socket has this number again.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert complaints == []


async def test_a_new_port_is_announced_until_it_has_its_netdev(node: Node) -> None:
    async with listening(node) as heard:
        port = node.new(88)
        events = await heard.until(lambda event: isinstance(event, PortChanged) and event.port.netdev == port.netdev)
    seen = ports(events, port.index)
    assert seen[0].netdev is None
    assert seen[-1] == port


async def test_what_a_function_is_set_to_is_announced(node: Node) -> None:
    port = node.new(88)
    async with listening(node) as heard:
        node.devlink.set_function(port.handle, port.index, FunctionSettings(mac=MAC))
        events = await heard.until(lambda event: isinstance(event, PortChanged))
        node.devlink.set_active(port.handle, port.index, active=True)
        events += await heard.until(lambda event: isinstance(event, PortChanged))
    functions = [seen.function for seen in ports(events, port.index)]
    assert [(function.mac, function.active) for function in functions if function] == [(MAC, False), (MAC, True)]


async def test_an_instance_that_appears_is_announced_and_then_named_by_its_port(node: Node) -> None:
    port = node.new(88)

    def named(event: Event) -> bool:
        return isinstance(event, PortChanged) and event.port.function is not None and bool(event.port.function.instance)

    async with listening(node) as heard:
        instance = await asyncio.to_thread(node.attach, port)
        events = await heard.until(named)
    assert InstanceChanged(instance) in events


async def test_the_virtual_port_is_announced_when_a_reload_makes_it(node: Node) -> None:
    instance = node.attach(node.new(88))

    def with_netdev(event: Event) -> bool:
        return isinstance(event, PortChanged) and event.port.handle.bus == BUS and event.port.netdev is not None

    async with listening(node) as heard:
        node.load(instance)
        events = await heard.until(with_netdev)
    assert isinstance(events[-1], PortChanged)
    assert events[-1].port.flavour is PortFlavour.VIRTUAL
    assert events[-1].port == node.virtual_port(instance)


async def test_an_instance_that_goes_is_announced_with_its_ports(node: Node) -> None:
    port = node.new(88)
    instance = node.attach(port)
    node.load(instance)
    async with listening(node) as heard:
        await asyncio.to_thread(node.detach, port)
        # Which goes first depends on whose the port is: the function's own, or its child's.
        missing = {PortDeleted, InstanceChanged}
        while missing:
            (*_, event) = await heard.until(
                lambda event: isinstance(event, PortDeleted) or event == InstanceChanged(instance)
            )
            missing.discard(type(event))
            if isinstance(event, PortDeleted):
                assert (event.port.handle.bus, event.port.flavour) == (BUS, PortFlavour.VIRTUAL)


async def test_a_deleted_port_is_announced_last_without_its_netdev(node: Node) -> None:
    port = node.new(88)
    async with listening(node) as heard:
        node.devlink.delete_port(port.handle, port.index)
        events = await heard.until(lambda event: isinstance(event, PortDeleted))
    last = events[-1]
    assert isinstance(last, PortDeleted)
    assert (last.port.handle, last.port.index, last.port.number) == (port.handle, port.index, 88)
    assert last.port.netdev is None


async def test_legacy_mode_is_not_announced_but_every_lost_port_is(node: Node) -> None:
    lost = [node.new(number, parent=node.spare) for number in (1, 2)]
    async with listening(node) as heard:
        await asyncio.to_thread(node.console.set_mode, node.spare, EswitchMode.LEGACY)
        events = await heard.until(lambda event: isinstance(event, PortDeleted))
        events += await heard.until(lambda event: isinstance(event, PortDeleted))
    deleted: set[tuple[Handle, int]] = {
        (event.port.handle, event.port.index) for event in events if isinstance(event, PortDeleted)
    }
    assert deleted == {(port.handle, port.index) for port in lost}


async def test_a_netdev_that_a_pod_takes_is_announced(node: Node) -> None:
    instance = node.attach(node.new(88))
    node.load(instance)
    port = node.virtual_port(instance)
    assert port is not None
    async with listening(node) as heard:
        await asyncio.to_thread(node.console.take_netdev, str(port.netdev))
        events = await heard.until(lambda event: isinstance(event, PortChanged) and event.port.netdev is None)
        assert isinstance(events[-1], PortChanged)
        assert (events[-1].port.handle, events[-1].port.index) == (port.handle, port.index)
    node.console.return_netdev(str(port.netdev))
