"""The kubelet asks plugins for a container: which devices they prefer, Allocate, PreStartContainer."""

from collections import defaultdict
from collections.abc import Callable

import grpc

from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction_simulator.kubelet.device_manager.devices import DeviceTable, Unavailable
from subfunction_simulator.kubelet.device_manager.plugins import Plugin, Registration
from subfunction_simulator.kubelet.pods import Container, Pod

_PRE_START_SECONDS = 30.0


class StartFailed(Exception):
    """A container could not be started; the kubelet tries again, with pauses."""


class PluginCalls:
    """The calls to plugins change the table.

    Args:
        table: what plugins listed, and who holds what.
        registration: the plugins that serve.
        before_each: called before a resource is looked at.
        changed: called when something was allocated.
    """

    def __init__(
        self,
        table: DeviceTable,
        registration: Registration,
        before_each: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._table = table
        self._registration = registration
        self._before_each = before_each
        self._changed = changed
        self._reusable: tuple[str, defaultdict[str, frozenset[str]]] = ("", defaultdict(frozenset))

    def admits(self, pod_uid: str) -> None:
        """Begin with a pod: what its init containers hold is for its others too."""
        self._reusable = (pod_uid, defaultdict(frozenset))

    async def allocate(self, pod: Pod, container: Container) -> None:
        """Allocate what a container lacks of its limits.

        Raises:
            Unavailable, grpc.aio.AioRpcError: it cannot be had, or a plugin said no.
        """
        if self._reusable[0] != pod.uid:
            self.admits(pod.uid)
        reusable, changed = self._reusable[1], False
        for resource, count in container.limits.items():
            if not count or not self._table.knows(resource):
                continue
            self._before_each()
            held = self.find_held(pod.uid, container.name, resource)
            self._table.check(resource, held)
            if not held:
                held, changed = await self._obtain(pod, container, resource, reusable[resource]), True
            if container.init and not container.restartable:
                reusable[resource] |= held
            else:
                reusable[resource] -= held
        if changed:
            self._changed()

    async def _obtain(self, pod: Pod, container: Container, resource: str, reusable: frozenset[str]) -> frozenset[str]:
        count = container.limits[resource]
        taken, free = self._table.candidates(resource, count, reusable)
        plugin = self._serving(resource)
        missing = count - len(taken)
        hint = await _ask_preferred(plugin, free, taken, count) if 0 < missing < len(free) else frozenset[str]()
        ids = self._table.shuffle({*taken, *self._table.choose(free, hint, missing)})
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
        answer = await plugin.stub.Allocate(request)
        if not answer.container_responses:
            raise Unavailable("no containers return in allocation response")
        self._table.record(pod.uid, container.name, resource, ids, answer.container_responses[0])
        return frozenset(ids)

    async def pre_start(self, pod_uid: str, container: Container, resource: str) -> None:
        """Tell a plugin that a container is about to start with its devices.

        Raises:
            StartFailed: the plugin said no, or is not there.
        """
        plugin = self._registration.plugins.get(resource)
        # A kubelet that came up before its plugin does not know that it asked for PreStartContainer, and skips it.
        if plugin is None or not plugin.options.pre_start_required:
            return
        ids = self.find_held(pod_uid, container.name, resource)
        if not ids:
            where = f"for pod {pod_uid}, container {container.name}, resource {resource}"
            raise StartFailed(f"no devices found allocated in local cache {where}")
        request = api.PreStartContainerRequest(devices_ids=self._table.shuffle(ids))
        try:
            await self._serving(resource).stub.PreStartContainer(request, timeout=_PRE_START_SECONDS)
        except (Unavailable, grpc.aio.AioRpcError) as error:
            text = f"device plugin PreStartContainer rpc failed with err: {words(error)}"
            raise StartFailed(text) from error

    def find_held(self, pod_uid: str, container: str, resource: str) -> frozenset[str]:
        """Give the ids of a resource that a container holds."""
        held = self._table.of_container(pod_uid, container)
        return frozenset[str]().union(*(each.ids for each in held if each.resource == resource))

    def _serving(self, resource: str) -> Plugin:
        plugin = self._registration.plugins.get(resource)
        if plugin is None or self._table.resources[resource].stopped_at is not None:
            raise Unavailable(f"endpoint {resource} has been stopped")
        return plugin


async def _ask_preferred(plugin: Plugin, free: frozenset[str], taken: frozenset[str], count: int) -> frozenset[str]:
    if not plugin.options.get_preferred_allocation_available:
        return frozenset()
    wanted = api.ContainerPreferredAllocationRequest(
        available_deviceIDs=[*free, *taken], must_include_deviceIDs=[*taken], allocation_size=count
    )
    answer = await plugin.stub.GetPreferredAllocation(api.PreferredAllocationRequest(container_requests=[wanted]))
    return frozenset(answer.container_responses[0].deviceIDs) if answer.container_responses else frozenset()


def words(error: Unavailable | grpc.aio.AioRpcError) -> str:
    """Say it as the kubelet's Go would."""
    if isinstance(error, Unavailable):
        return str(error)
    code = error.code().name.title().replace("_", "")
    return f"rpc error: code = {code} desc = {error.details()}"
