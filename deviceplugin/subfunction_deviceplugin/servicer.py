"""Serves the five calls of the device plugin API for one resource."""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import NoReturn, ParamSpec, TypeVar

import grpc

from subfunction.api.reasons import Reason
from subfunction.errors import AllocationRefused, SubFunctionError
from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import DevicePluginServicer
from subfunction.process.metrics import PluginMetrics
from subfunction.state.records import Record
from subfunction_deviceplugin.allocate_response import build_response
from subfunction_deviceplugin.allocator import Allocator
from subfunction_deviceplugin.device_list import DeviceList
from subfunction_deviceplugin.health import Device
from subfunction_deviceplugin.preferred_allocation import Criteria, DeviceTopology, Policy, choose_preferred
from subfunction_deviceplugin.worker import LedgerWorker

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
Context = grpc.aio.ServicerContext[object, object]

_CODES = {
    Reason.UNKNOWN_DEVICE: grpc.StatusCode.NOT_FOUND,
    Reason.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KERNEL_BUSY: grpc.StatusCode.DEADLINE_EXCEEDED,
}


_ADVICE_SECONDS = 1.0
"""Deadline of GetPreferredAllocation: the kubelet admits no pod meanwhile, and Allocate checks again right after."""
_DELIVERY_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class ServicerContext:
    """What all resources share; `deadline` is in seconds per call, `numa_hints` adds NUMA nodes to the list."""

    device_list: DeviceList
    allocator: Allocator
    worker: LedgerWorker
    deadline: float
    metrics: PluginMetrics
    policy: Policy = "spread"
    numa_hints: bool = True

    @property
    def patience(self) -> float:
        """Return the seconds within which an answer must be ready, well before `ask` gives up.

        An answer of the last moment would be dropped by `ask`, and its ledger entries would stay.
        """
        return max(self.deadline - _DELIVERY_SECONDS, self.deadline / 2)

    async def ask(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call on the worker thread.

        Raises:
            AllocationRefused: it did not return in time; it goes on by itself, and rolls back its ledger entries.
        """
        try:
            async with asyncio.timeout(self.deadline):
                return await self.worker.run(call, *args, **kwargs)
        except TimeoutError as error:
            raise AllocationRefused(
                Reason.KERNEL_BUSY,
                f"no answer from records and sysfs within {self.deadline:g} s",
                hint="See `dmesg` of the node for hung tasks.",
            ) from error


class DevicePlugin(DevicePluginServicer):
    """Serves one resource; `on_streams` is called whenever a ListAndWatch stream opens or closes."""

    def __init__(self, resource: str, context: ServicerContext, on_streams: Callable[[], None]) -> None:
        self.streams = 0
        self._resource = resource
        self._context = context
        self._device_list = context.device_list
        self._on_streams = on_streams
        self._last_used: dict[str, float] = {}

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        """Request both optional calls, PreStartContainer and GetPreferredAllocation."""
        return api.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        """Send the list at once, and the whole list again with each new version."""
        self._count(1)
        try:
            async for devices in self._device_list.lists(self._resource):
                yield api.ListAndWatchResponse(
                    devices=[_to_proto(each, hints=self._context.numa_hints) for each in devices]
                )
        finally:
            self._count(-1)

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        """Prefer devices that Allocate would accept, on few NUMA nodes, parents by policy, the longest unused."""
        choices = [await self._preferred(wanted) for wanted in request.container_requests]
        return api.PreferredAllocationResponse(
            container_responses=[api.ContainerPreferredAllocationResponse(deviceIDs=choice) for choice in choices]
        )

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        """Write the devices to the ledger, check them again, and return how they enter the container."""
        containers = [frozenset(wanted.devices_ids) for wanted in request.container_requests]
        ids = frozenset[str]().union(*containers)

        def render(records: Mapping[str, Record]) -> api.AllocateResponse:
            answers = [build_response(self._resource, [records[each] for each in wanted]) for wanted in containers]
            return api.AllocateResponse(container_responses=answers)

        began = time.monotonic()
        try:
            uids = self._uids(ids)
            until = began + self._context.patience
            given = await self._context.ask(self._context.allocator.allocate, self._resource, uids, render, until=until)
        except SubFunctionError as error:
            self._context.metrics.record_allocation_refusal(error.reason, time.monotonic() - began)
            await _abort(context, "Allocate", ids, error)
        self._context.metrics.record_allocation(self._resource, time.monotonic() - began)
        self._last_used |= dict.fromkeys(uids, time.monotonic())
        for device_id, uid in uids.items():
            _LOG.info("%s %s handed out (%s)", self._resource, device_id, uid)
        return given

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        """Refuse to start a container whose device is no longer the one that was allocated to it."""
        listed = {each: self._device_list.device(self._resource, each) for each in request.devices_ids}
        uids = {each: None if device is None else device.uid for each, device in listed.items()}
        try:
            await self._context.ask(self._context.allocator.validate_start, self._resource, uids)
        except SubFunctionError as error:
            self._context.metrics.record_start_refusal(error.reason)
            await _abort(context, "PreStartContainer", request.devices_ids, error)
        return api.PreStartContainerResponse()

    async def _preferred(self, wanted: api.ContainerPreferredAllocationRequest) -> tuple[str, ...]:
        listed = {device.device_id: device for device in self._device_list.devices(self._resource)}
        places = {
            each: DeviceTopology(device.numa_node, device.pcie_root, device.parent) for each, device in listed.items()
        }
        criteria = Criteria(places, self._last_used, self._context.policy)

        def chosen(available: AbstractSet[str]) -> tuple[str, ...]:
            return choose_preferred(available, wanted.must_include_deviceIDs, wanted.allocation_size, criteria)

        available = frozenset(wanted.available_deviceIDs)
        choice = chosen(available)
        # The kubelet's list is a moment old, and a pod whose device Allocate refuses has failed for good.
        if await self._find_unallocatable(listed, choice):
            choice = chosen(available - await self._find_unallocatable(listed, available))
        return choice

    async def _find_unallocatable(self, listed: Mapping[str, Device], ids: Iterable[str]) -> frozenset[str]:
        known = {each: uid for each in ids if each in listed and (uid := listed[each].uid) is not None}
        try:
            async with asyncio.timeout(_ADVICE_SECONDS):
                return await self._context.worker.run(self._context.allocator.find_unallocatable, self._resource, known)
        except TimeoutError:
            # Allocate has a deadline of its own, and reports the error.
            _LOG.warning(
                "no answer from records and sysfs within %g s: devices are preferred by the list alone", _ADVICE_SECONDS
            )
            return frozenset()

    def _uids(self, ids: Iterable[str]) -> Mapping[str, str]:
        uids: dict[str, str] = {}
        for device_id in sorted(ids):
            device = self._device_list.device(self._resource, device_id)
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
    _LOG.warning("%s of %s refused: %s: %s", call, ", ".join(sorted(ids)), error.reason, error)
    await context.abort(_CODES.get(error.reason, default), f"{error.reason}: {error}")


def _to_proto(device: Device, *, hints: bool) -> api.Device:
    node = device.numa_node if hints else None
    return api.Device(
        ID=device.device_id,
        health="Healthy" if device.fault is None else "Unhealthy",
        topology=None if node is None else api.TopologyInfo(nodes=[api.NUMANode(ID=node)]),
    )
