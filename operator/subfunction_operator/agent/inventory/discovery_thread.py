"""Runs the discovery in threads of its own, so that a card that does not answer hides no other one.

One thread reads parent after parent. A parent that does not answer within the deadline keeps that thread, and another
one reads on; until the first comes back, its parent is reported as it is and not asked again. So there are as many
threads as parents that hang, and one.
"""

import asyncio
import dataclasses
from collections.abc import Callable

from subfunction.errors import FamilyMissing, KernelBusy
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Transport
from subfunction.kernel.worker import KernelWorker
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, DiscoveredParent, Discovery
from subfunction_operator.agent.inventory.foreign_ports import Numbered


@dataclasses.dataclass(frozen=True, slots=True)
class _Reader:
    """A thread and its socket, which no other thread uses."""

    worker: KernelWorker
    netlink: Netlink

    def stop(self) -> None:
        """End the thread after its current job, and close its socket."""
        self.worker.stop(self.netlink.close)


class DiscoveryThread:
    """Reads the node; `named` returns the sub-functions that objects name, `deadline` is in seconds a parent."""

    def __init__(
        self, discovery: Discovery, transport: Transport, named: Callable[[], Numbered], *, deadline: float
    ) -> None:
        self._discovery = discovery
        self._transport = transport
        self._named = named
        self._deadline = deadline
        self._reader: _Reader | None = None
        self._stuck: dict[Handle, tuple[_Reader, KernelBusy]] = {}

    async def discover(self) -> DiscoveredNode:
        """Discover the node once.

        Raises:
            SubFunctionError: the node cannot be discovered; what a single parent refuses is in the result instead.
        """
        named = self._named()
        node = await asyncio.to_thread(self._discovery.read_node)
        functions = await asyncio.to_thread(self._discovery.list_functions)
        self._forget_removed({function.handle for function in functions})
        try:
            found = [await self._read(function, named) for function in functions]
        except FamilyMissing as error:
            return dataclasses.replace(node, missing=error)
        return dataclasses.replace(node, parents=tuple(parent for parent in found if parent is not None))

    async def _read(self, function: PciFunction, named: Numbered) -> DiscoveredParent | None:
        handle = function.handle
        if handle in self._stuck:
            reader, error = self._stuck[handle]
            if reader.worker.stuck_in is not None:
                return await self._report(function, error)
            reader.stop()
            del self._stuck[handle]
        reader = self._reader = self._reader or _Reader(KernelWorker("survey"), Netlink(self._transport))
        try:
            return await reader.worker.run(
                f"survey {handle}",
                lambda: self._discovery.read_parent(Devlink(reader.netlink), Links(reader.netlink), function, named),
                self._deadline,
            )
        except KernelBusy as error:
            self._reader, self._stuck[handle] = None, (reader, error)
            return await self._report(function, error)

    async def _report(self, function: PciFunction, error: KernelBusy) -> DiscoveredParent:
        return await asyncio.to_thread(self._discovery.add_sysfs, DiscoveredParent(function, error=error))

    def _forget_removed(self, present: set[Handle]) -> None:
        for handle in self._stuck.keys() - present:
            reader, _ = self._stuck.pop(handle)
            reader.stop()

    def stop(self) -> None:
        """End the threads after their current jobs, and close their sockets."""
        for reader in (self._reader, *(reader for reader, _ in self._stuck.values())):
            if reader is not None:
                reader.stop()
        self._reader = None
