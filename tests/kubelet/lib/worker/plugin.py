"""A device plugin with no mind of its own: lists what it is told to, and remembers every call."""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import grpc

from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction.kubelet.deviceplugin_pb2_grpc import (
    DevicePluginServicer,
    RegistrationStub,
    add_DevicePluginServicer_to_server,
)

Context = grpc.aio.ServicerContext[object, object]
_serials = itertools.count(1)


class Plugin(DevicePluginServicer):
    """One instance, on a socket of its own name. What it answers is its resource's name and the ids asked for."""

    def __init__(self, folder: Path, resource: str) -> None:
        self.resource = resource
        self.endpoint = f"test-{next(_serials)}.sock"
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.streams = 0
        self.refuses_allocate = ""
        self.refuses_start = ""
        self.preferred: tuple[str, ...] | None = None
        self._folder = folder
        self._devices: tuple[api.Device, ...] = ()
        self._lists = 0
        self._changed = asyncio.Condition()
        self._server = grpc.aio.server()

    @property
    def allocations(self) -> list[tuple[str, ...]]:
        """The ids of each Allocate, in the order in which they came."""
        return [ids for call, ids in self.calls if call == "Allocate"]

    @property
    def starts(self) -> list[tuple[str, ...]]:
        """The ids of each PreStartContainer, sorted."""
        return [tuple(sorted(ids)) for call, ids in self.calls if call == "PreStartContainer"]

    async def serve(self) -> None:
        """Listen."""
        add_DevicePluginServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self._folder / self.endpoint}")
        await self._server.start()

    async def register(self, **changes: str) -> None:
        """Register; what is named may be wrong. Raises what the kubelet refuses with."""
        request = {"version": "v1beta1", "endpoint": self.endpoint, "resource_name": self.resource} | changes
        options = [("grpc.default_authority", "localhost")]
        async with grpc.aio.insecure_channel(f"unix:{self._folder / 'kubelet.sock'}", options=options) as channel:
            register = RegistrationStub(channel).Register
            await register(api.RegisterRequest(**request), wait_for_ready=True, timeout=30)  # type: ignore[arg-type]

    async def stop(self) -> None:
        """End, as a killed one does: streams break."""
        await self._server.stop(None)

    async def list(self, healthy: Iterable[str], unhealthy: Iterable[str] = ()) -> None:
        """Tell the kubelet of devices."""
        listed = [*((each, "Healthy") for each in healthy), *((each, "Unhealthy") for each in unhealthy)]
        async with self._changed:
            self._devices = tuple(api.Device(ID=device_id, health=health) for device_id, health in listed)
            self._lists += 1
            self._changed.notify_all()

    async def GetDevicePluginOptions(self, request: api.Empty, context: Context) -> api.DevicePluginOptions:
        self.calls.append(("GetDevicePluginOptions", ()))
        return api.DevicePluginOptions(
            pre_start_required=True, get_preferred_allocation_available=self.preferred is not None
        )

    async def ListAndWatch(self, request: api.Empty, context: Context) -> AsyncIterator[api.ListAndWatchResponse]:
        self.streams += 1
        sent = 0
        try:
            while True:
                async with self._changed:
                    while self._lists == sent:
                        await self._changed.wait()
                    sent, devices = self._lists, self._devices
                yield api.ListAndWatchResponse(devices=devices)
        finally:
            self.streams -= 1

    async def GetPreferredAllocation(
        self, request: api.PreferredAllocationRequest, context: Context
    ) -> api.PreferredAllocationResponse:
        [wanted] = request.container_requests
        self.calls.append(("GetPreferredAllocation", tuple(sorted(wanted.available_deviceIDs))))
        answer = api.ContainerPreferredAllocationResponse(deviceIDs=self.preferred or ())
        return api.PreferredAllocationResponse(container_responses=[answer])

    async def Allocate(self, request: api.AllocateRequest, context: Context) -> api.AllocateResponse:
        [wanted] = request.container_requests
        ids = tuple(wanted.devices_ids)
        self.calls.append(("Allocate", ids))
        if self.refuses_allocate:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuses_allocate)
        name = self.resource.partition("/")[2].upper()
        node = api.DeviceSpec(container_path="/dev/nic", host_path="/dev/zero", permissions="rw")
        answer = api.ContainerAllocateResponse(
            envs={name: ",".join(sorted(ids)), "SHARED": name},
            devices=[node],
            mounts=[api.Mount(container_path=f"/nics/{name}", host_path="/sys/class", read_only=True)],
        )
        return api.AllocateResponse(container_responses=[answer])

    async def PreStartContainer(
        self, request: api.PreStartContainerRequest, context: Context
    ) -> api.PreStartContainerResponse:
        self.calls.append(("PreStartContainer", tuple(request.devices_ids)))
        if self.refuses_start:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, self.refuses_start)
        return api.PreStartContainerResponse()
