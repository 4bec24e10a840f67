"""PodResources v1 tells which container holds what; a call makes the kubelet forget pods that are over."""
# ruff: noqa: ARG002, N802 - the calls' names and arguments are gRPC's

from collections.abc import Callable, Iterable

import grpc

from subfunction.kubelet import podresources_pb2 as api
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerServicer
from subfunction_simulator.kubelet.device_manager.devices import DeviceTable
from subfunction_simulator.kubelet.pods import Container, Pod

Context = grpc.aio.ServicerContext[object, object]


class PodResourcesLister(PodResourcesListerServicer):
    """The lister serves List and Get from the device manager's memory."""

    def __init__(
        self, active_pods: Callable[[], Iterable[Pod]], forget_ended: Callable[[], None], table: DeviceTable
    ) -> None:
        self._active_pods = active_pods
        self._forget_ended = forget_ended
        self._table = table

    async def List(self, request: api.ListPodResourcesRequest, context: Context) -> api.ListPodResourcesResponse:
        """List every pod that is not over, those without devices too."""
        self._forget_ended()
        return api.ListPodResourcesResponse(pod_resources=[self._pod(pod) for pod in self._active_pods()])

    async def Get(self, request: api.GetPodResourcesRequest, context: Context) -> api.GetPodResourcesResponse:
        """Give one pod."""
        name = (request.pod_namespace, request.pod_name)
        found = next((pod for pod in self._active_pods() if (pod.namespace, pod.name) == name), None)
        if found is None:
            text = f"pod {request.pod_name} in namespace {request.pod_namespace} not found"
            await context.abort(grpc.StatusCode.UNKNOWN, text)
        return api.GetPodResourcesResponse(pod_resources=self._pod(found))

    def _pod(self, pod: Pod) -> api.PodResources:
        # An init container that does not restart is left out, whatever it holds.
        containers = [self._container(pod, each) for each in pod.containers if not each.init or each.restartable]
        return api.PodResources(name=pod.name, namespace=pod.namespace, containers=containers)

    def _container(self, pod: Pod, container: Container) -> api.ContainerResources:
        devices = [
            api.ContainerDevices(
                resource_name=held.resource,
                device_ids=[device_id],
                topology=None if node < 0 else api.TopologyInfo(nodes=[api.NUMANode(ID=node)]),
            )
            for held in self._table.of_container(pod.uid, container.name)
            for node, ids in held.nodes.items()
            for device_id in sorted(ids)
        ]
        return api.ContainerResources(name=container.name, devices=devices)
