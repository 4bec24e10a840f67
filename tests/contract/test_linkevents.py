"""What the kernel announces of network links."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from tests.contract.node import Node

from subfunction.kernel.link import LinkSettings
from subfunction.kernel.monitor.link import LinkChanged, LinkDeleted, LinkEvent, monitor_links
from subfunction.kernel.monitor.multicast import Overrun


class Heard:
    """The events of a node, as they come."""

    def __init__(self, events: AsyncIterator[LinkEvent | Overrun]) -> None:
        self._events = events

    async def until(self, good: Callable[[LinkEvent], bool], *, seconds: float = 20) -> list[LinkEvent]:
        """Give the events up to the first good one."""
        heard: list[LinkEvent] = []
        async with asyncio.timeout(seconds):
            async for event in self._events:
                assert not isinstance(event, Overrun), event
                heard.append(event)
                if good(event):
                    break
        return heard


@contextlib.asynccontextmanager
async def listening(node: Node) -> AsyncIterator[Heard]:
    async with contextlib.aclosing(monitor_links(node.netlink.transport)) as events:
        assert isinstance(await anext(events), Overrun)
        yield Heard(events)


async def test_a_representor_is_announced_when_it_comes_and_when_it_goes(node: Node) -> None:
    async with listening(node) as heard:
        port = node.new(88)
        netdev = node.representor(port)
        (*_, came) = await heard.until(lambda event: event.ifindex == netdev.ifindex)
        node.devlink.delete_port(port.handle, port.index)
        (*_, went) = await heard.until(lambda event: isinstance(event, LinkDeleted))
    assert isinstance(came, LinkChanged)
    assert not came.up
    assert went == LinkDeleted(netdev.ifindex, netdev.name)


async def test_a_link_that_somebody_renames_or_sets_up_or_down_is_announced(node: Node) -> None:
    netdev = node.representor(node.new(88))
    async with listening(node) as heard:
        for settings, wanted in (
            (LinkSettings(up=True), LinkChanged(netdev.ifindex, netdev.name, up=True)),
            (LinkSettings(up=False), LinkChanged(netdev.ifindex, netdev.name, up=False)),
            (LinkSettings(name="sfrep88"), LinkChanged(netdev.ifindex, "sfrep88", up=False)),
        ):
            node.links.set(netdev.ifindex, settings)
            await heard.until(lambda event: event == wanted)  # noqa: B023  # awaited within the turn


async def test_a_link_that_leaves_a_bridge_is_not_announced_as_deleted(node: Node) -> None:
    netdev = node.representor(node.new(88))
    node.console.bridge("sfbr0")
    bridge = node.ifindex("sfbr0")
    async with listening(node) as heard:
        node.links.set(netdev.ifindex, LinkSettings(master=bridge))
        node.links.set(netdev.ifindex, LinkSettings(master=0))
        node.links.set(netdev.ifindex, LinkSettings(name="sfrep88"))
        events = await heard.until(lambda event: isinstance(event, LinkChanged) and event.name == "sfrep88")
    assert not [event for event in events if isinstance(event, LinkDeleted)]


async def test_a_link_that_a_pod_takes_is_announced_as_gone_and_comes_back(node: Node) -> None:
    netdev = node.netdev(node.new(88))
    async with listening(node) as heard:
        await asyncio.to_thread(node.console.take_netdev, netdev.name)
        await heard.until(lambda event: event == LinkDeleted(netdev.ifindex, netdev.name))
        await asyncio.to_thread(node.console.return_netdev, netdev.name)
        await heard.until(lambda event: isinstance(event, LinkChanged) and event.name == netdev.name)
