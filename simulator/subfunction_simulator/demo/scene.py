"""A scene follows objects, kernel, node and pod while the story goes on, and tells each change."""

import dataclasses
from typing import Any

from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.monitor.devlink import PortChanged, PortDeleted, monitor_devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Transport
from subfunction.kernel.port import Port
from subfunction_simulator.demo.cluster import NODES, PODS, SUB_FUNCTION_NODES, SUB_FUNCTIONS, Cluster, condition
from subfunction_simulator.demo.narrator import Narrator
from subfunction_simulator.demo.processes import NODE

RESOURCE = "subfunction.dev/mlx5"


@dataclasses.dataclass(slots=True)
class Scene:
    """A scene is the node as far as it is known by now."""

    narrator: Narrator
    cluster: Cluster
    transport: Transport
    parents: tuple[Handle, ...]
    objects: dict[str, Any] = dataclasses.field(default_factory=dict)
    pods: dict[str, Any] = dataclasses.field(default_factory=dict)
    allocatable: str | None = None
    report: str = ""
    _ports: dict[int, str] = dataclasses.field(default_factory=dict)

    def ready(self, name: str) -> bool:
        """Say whether a SubFunction is Ready."""
        return bool(condition(self.objects.get(name, {}), "Ready").get("status") == "True")

    async def follow_objects(self) -> None:
        """Tell what becomes of the SubFunctions."""
        async for kind, item in self.cluster.watch(SUB_FUNCTIONS):
            name = item["metadata"]["name"]
            before = self.objects.pop(name, None)
            if kind == "DELETED":
                self.narrator.say("api", f"subfunction/{name} is gone")
                continue
            self.objects[name] = item
            if before is None:
                self.narrator.say("api", f"subfunction/{name} created")
            self._tell_ready(name, before or {}, item)
            self._tell_pod(name, before or {}, item)
            self.narrator.notify()

    def _tell_ready(self, name: str, before: Any, item: Any) -> None:
        old, new = condition(before, "Ready"), condition(item, "Ready")
        if not new or (old.get("status"), old.get("reason")) == (new["status"], new["reason"]):
            return
        device = item["status"].get("device", {})
        parts = ", ".join(device[part] for part in ("netdev", "rdma") if part in device)
        words = f" as {device['id']}: {parts}" if device else ""
        if new["status"] == "True":
            self.narrator.say("api", f"subfunction/{name} is Ready{words}")
        else:
            self.narrator.say("api", f"subfunction/{name} is not Ready: {new['reason']}: {new['message']}")

    def _tell_pod(self, name: str, before: Any, item: Any) -> None:
        old, new = (each.get("status", {}).get("allocatedTo") for each in (before, item))
        if old != new:
            held = f"is held by pod {new['namespace']}/{new['name']}" if new else "is free"
            self.narrator.say("api", f"subfunction/{name} {held}")

    async def follow_kernel(self) -> None:
        """Tell what devlink announces of sub-functions, once for each thing that is new."""
        async for event in monitor_devlink(Netlink(self.transport)):
            match event:
                case PortChanged(port) if port.is_sub_function:
                    words = _words(port)
                    if self._ports.get(port.index) != words:
                        self._ports[port.index] = words
                        self.narrator.say("kernel", f"port {port.handle}/{port.index} sfnum {port.number} {words}")
                case PortDeleted(port) if self._ports.pop(port.index, None):
                    self.narrator.say("kernel", f"port {port.handle}/{port.index} is deleted")

    async def follow_node(self) -> None:
        """Tell what the kubelet offers."""
        async for _, item in self.cluster.watch(NODES):
            offered = item.get("status", {}).get("allocatable", {}).get(RESOURCE)
            if item["metadata"]["name"] == NODE and offered != self.allocatable:
                self.allocatable = offered
                self.narrator.say("kubelet", f"node/{NODE} has {RESOURCE}: {offered} allocatable")

    async def follow_reports(self) -> None:
        """Tell what the agent says that its node can do."""
        async for _, item in self.cluster.watch(SUB_FUNCTION_NODES):
            status = item.get("status", {})
            if "parentCount" not in status:
                continue
            flavours = ", ".join(status.get("flavours", ())) or "none"
            room = f"{status['parentCount']} parents, room for {status.get('capacity', 0)}, flavours {flavours}"
            if room != self.report:
                self.report = room
                self.narrator.say("api", f"subfunctionnode/{item['metadata']['name']} says: {room}")

    async def follow_pods(self) -> None:
        """Tell how the pods do."""
        async for kind, item in self.cluster.watch(PODS):
            name = item["metadata"]["name"]
            before = self.pods.pop(name, {})
            if kind == "DELETED":
                self.narrator.say("kubelet", f"pod/{name} has ended, its device is given back")
                continue
            self.pods[name] = item
            phase = item.get("status", {}).get("phase")
            if phase and phase != before.get("status", {}).get("phase"):
                self.narrator.say("kubelet", f"pod/{name} is {phase} {item['status'].get('message', '')}".rstrip())
            self.narrator.notify()

    def ports(self) -> list[str]:
        """Show the sub-functions' ports as the kernel has them now."""
        devlink = Devlink(Netlink(self.transport))
        ports = [port for parent in self.parents for port in devlink.ports(parent)]
        return [
            f"{port.handle}/{port.index} sfnum {port.number} {_words(port)}" for port in ports if port.is_sub_function
        ]


def _words(port: Port) -> str:
    function = port.function
    if function is None:
        return ""
    state = "active" if function.active else "inactive"
    attached = "attached" if function.attached else "detached"
    mac = "" if function.mac is None or function.mac.unset else f" hw_addr {function.mac}"
    bus = f" on {function.instance}" if function.instance else ""
    return f"{state} {attached}{mac}{bus}"
