"""The five calls of one resource, a few lines each."""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NoReturn, ParamSpec, TypeVar

import grpc

from subfunction.errors import AllocationRefused, SubFunctionError
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginServicer
from subfunction.metrics import PluginMetrics
from subfunction.reasons import Reason
from subfunction.records import Record
from subfunction_deviceplugin.allocation import answer
from subfunction_deviceplugin.bookkeeper import Bookkeeper
from subfunction_deviceplugin.inventory import Inventory
from subfunction_deviceplugin.listing import Device
from subfunction_deviceplugin.preference import Place, Policy, preferred
from subfunction_deviceplugin.worker import Worker

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Context = grpc.aio.ServicerContext[object, object]

_CODES = {
    Reason.UNKNOWN_DEVICE: grpc.StatusCode.NOT_FOUND,
    Reason.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KERNEL_BUSY: grpc.StatusCode.DEADLINE_EXCEEDED,
}


_ADVICE_SECONDS = 1.0
"""The kubelet admits no pod meanwhile; Allocate comes right after."""
_DELIVERY_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Desk:
    """What all resources share; `deadline` is in seconds a call, `numa_hints` has the list tell of NUMA nodes."""

    inventory: Inventory
    bookkeeper: Bookkeeper
    worker: Worker
    deadline: float
    metrics: PluginMetrics
    policy: Policy = "spread"
    numa_hints: bool = True

    @property
    def patience(self) -> float:
        """Seconds in which an answer must be made, to be there well before `ask` gives up.

        One made in the last moment would be thrown away here, and its promise would stand.
        """
        return max(self.deadline - _DELIVERY_SECONDS, self.deadline / 2)

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a blocking call on the worker thread.

        Raises:
            AllocationRefused: it did not come back in time; it goes on by itself and takes back what it promised.
        """
        try:
            async with asyncio.timeout(self.deadline):
                return await self.worker.do(call, *args, **kwargs)
        except TimeoutError as error:
            raise AllocationRefused(
                Reason.KERNEL_BUSY,
                f"no answer from records and sysfs within {self.deadline:g} s",
                hint="See `dmesg` of the node for hung tasks.",
            ) from error


class DevicePlugin(DevicePluginServicer):
    """Serves one resource; `on_streams` is told whenever a ListAndWatch stream opens or closes."""

    def __init__(self, resource: str, desk: Desk, on_streams: Callable[[], None]) -> None:
        self.streams = 0
        self._resource = resource
        self._desk = desk
        self._inventory = desk.inventory
        self._on_streams = on_streams
        self._last_used: dict[str, float] = {}

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        """Ask for both optional calls."""
        return api.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        """Send the list at once, and whole again with each issue."""
        self._count(1)
        try:
            async for devices in self._inventory.lists(self._resource):
                yield api.ListAndWatchResponse(devices=[_device(each, hints=self._desk.numa_hints) for each in devices])
        finally:
            self._count(-1)

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        """Advise: no device that Allocate would refuse, few NUMA nodes, parents by policy, and none just given back."""
        choices = [await self._advice(wanted) for wanted in request.container_requests]
        return api.PreferredAllocationResponse(
            container_responses=[api.ContainerPreferredAllocationResponse(deviceIDs=choice) for choice in choices]
        )

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        """Promise the devices, look at them again, and say how they enter the container."""
        containers = [frozenset(wanted.devices_ids) for wanted in request.container_requests]
        ids = frozenset[str]().union(*containers)

        def render(records: Mapping[str, Record]) -> api.AllocateResponse:
            answers = [answer(self._resource, [records[each] for each in wanted]) for wanted in containers]
            return api.AllocateResponse(container_responses=answers)

        began = time.monotonic()
        try:
            uids = self._uids(ids)
            until = began + self._desk.patience
            given = await self._desk.ask(self._desk.bookkeeper.allocate, self._resource, uids, render, until=until)
        except SubFunctionError as error:
            self._desk.metrics.allocation_refused(error.reason, time.monotonic() - began)
            await _abort(context, "Allocate", ids, error)
        self._desk.metrics.allocated(self._resource, time.monotonic() - began)
        self._last_used |= dict.fromkeys(uids, time.monotonic())
        for device_id, uid in uids.items():
            logger.info("%s %s handed out (%s)", self._resource, device_id, uid)
        return given

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        """Refuse to start a container whose device is no longer the one that it was promised."""
        listed = {each: self._inventory.device(self._resource, each) for each in request.devices_ids}
        uids = {each: None if device is None else device.uid for each, device in listed.items()}
        try:
            await self._desk.ask(self._desk.bookkeeper.verify, self._resource, uids)
        except SubFunctionError as error:
            self._desk.metrics.start_refused(error.reason)
            await _abort(context, "PreStartContainer", request.devices_ids, error)
        return api.PreStartContainerResponse()

    async def _advice(self, wanted: api.ContainerPreferredAllocationRequest) -> tuple[str, ...]:
        listed = {device.device_id: device for device in self._inventory.devices(self._resource)}
        places = {each: Place(device.numa_node, device.pcie_root, device.parent) for each, device in listed.items()}

        def chosen(available: AbstractSet[str]) -> tuple[str, ...]:
            return preferred(
                available,
                wanted.must_include_deviceIDs,
                wanted.allocation_size,
                places=places,
                last_used=self._last_used,
                policy=self._desk.policy,
            )

        available = frozenset(wanted.available_deviceIDs)
        choice = chosen(available)
        # What the kubelet has heard of is a moment old; a pod whose device is refused to it has failed for good.
        if await self._unfit(listed, choice):
            choice = chosen(available - await self._unfit(listed, available))
        return choice

    async def _unfit(self, listed: Mapping[str, Device], ids: Iterable[str]) -> frozenset[str]:
        known = {each: uid for each in ids if each in listed and (uid := listed[each].uid) is not None}
        try:
            async with asyncio.timeout(_ADVICE_SECONDS):
                return await self._desk.worker.do(self._desk.bookkeeper.unfit, self._resource, known)
        except TimeoutError:
            # Allocate has a deadline of its own, and says what there is to say.
            logger.warning("no answer from records and sysfs within %g s: advice goes by the list", _ADVICE_SECONDS)
            return frozenset()

    def _uids(self, ids: Iterable[str]) -> Mapping[str, str]:
        uids: dict[str, str] = {}
        for device_id in sorted(ids):
            device = self._inventory.device(self._resource, device_id)
            if device is None or device.uid is None:
                raise AllocationRefused(
                    Reason.UNKNOWN_DEVICE,
                    f"no {self._resource} has the id {device_id}",
                    hint="Ids come from the last ListAndWatch message of this very resource.",
                )
            uids[device_id] = device.uid
        if not uids:
            raise AllocationRefused(Reason.INVALID, "no device is asked for")
        return uids

    def _count(self, change: int) -> None:
        self.streams += change
        self._on_streams()


async def _abort(context: Context, call: str, ids: Iterable[str], error: SubFunctionError) -> NoReturn:
    default = (
        grpc.StatusCode.FAILED_PRECONDITION if isinstance(error, AllocationRefused) else grpc.StatusCode.UNAVAILABLE
    )
    logger.warning("%s of %s refused: %s: %s", call, ", ".join(sorted(ids)), error.reason, error)
    await context.abort(_CODES.get(error.reason, default), f"{error.reason}: {error}")


def _device(device: Device, *, hints: bool) -> api.Device:
    node = device.numa_node if hints else None
    return api.Device(
        ID=device.device_id,
        health="Healthy" if device.fault is None else "Unhealthy",
        topology=None if node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=node)]),
    )
