"""Three whole nodes in machines, and on the host the API server, the controllers, kubectl and Helm.

There is no scheduler and no controller manager: pods are bound to their nodes here, a Node that dies stays Ready in its
status, and nobody collects the garbage of a deleted one.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from components.controlplane import ControlPlane
from harness.errors import CommandFailed, HarnessError
from harness.machine import HOST, Machine, Process
from harness.process import Guarded
from harness.sfsim import Sfsim
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import Topology
from node_disk import disk
from node_in_vm import PARENT, Cluster
from whole_node import STATIC, start, start_agent, start_plugin
from worker.bench import Container, pod_of
from worker.sight import Sight

NAMES: Final = ("worker-1", "worker-2", "worker-3")
MLX5: Final = "subfunction.dev/mlx5"
PATIENCE: Final = 300.0
"""Seconds: three nodes share two cores and no KVM."""
_OBJECTS: Final = "/apis/subfunction.dev/v1alpha1/subfunctions"
_POOLS: Final = "/apis/subfunction.dev/v1alpha1/subfunctionpools"
_PODS: Final = "/api/v1/namespaces/default/pods"
_LASTING: Final = ("kubelet/device-plugins/kubelet_internal_checkpoint", "subfunction")
"""What of /var/lib a reboot leaves, of all that matters here."""

T = TypeVar("T")

Identity = tuple[str, int, str]
"""A sub-function by its parent, its number and its address."""


@dataclass(slots=True)
class Worker:
    """A node of the cluster; `held` is what ends with its machine."""

    name: str
    sfsim: Sfsim
    programs: dict[str, Process]
    held: contextlib.ExitStack

    @property
    def machine(self) -> Machine:
        """Its machine."""
        return self.sfsim.machine

    def kernel(self) -> set[Identity]:
        """The sub-functions of its kernel, by iproute2."""
        return {
            (handle.rpartition("/")[0], int(port["sfnum"]), str(port["function"]["hw_addr"]))
            for handle, port in self.sfsim.ports("pcisf").items()
        }

    def sight(self, pod: str, namespace: str = "default") -> Sight | None:
        """What the one container of a pod told, once it has."""
        logs = f"/var/log/pods/{namespace}_{pod}_*/main/*.log"
        return Sight.of_log(self.machine.run(f"cat {logs} 2>/dev/null || true").stdout)

    def restart_agent(self) -> None:
        """What a roll-out of the agents does to one."""
        self.programs["agent"].signal(15)
        self.programs["agent"].wait(60)
        self.programs["agent"] = start_agent(self.machine, self.name)

    def restart_plugin(self) -> None:
        """What a roll-out of the device plugins does to one."""
        self.programs["plugin"].signal(15)
        self.programs["plugin"].wait(60)
        self.programs["plugin"] = start_plugin(self.machine)


@dataclass(slots=True)
class WholeCluster:
    """The cluster, as its administrator has it."""

    plane: ControlPlane
    snapshot: Snapshot
    kubectl: Cluster
    workers: dict[str, Worker] = field(default_factory=dict)
    controllers: dict[str, Guarded] = field(default_factory=dict)

    # --- nodes ---

    def start(self, name: str, lasting: Path | None = None) -> Worker:
        """Start a machine and a node's programs in it; `lasting` is what an earlier machine of its name left."""
        held = contextlib.ExitStack()
        machine = held.enter_context(self.snapshot.restore())
        sfsim = held.enter_context(_loaded_until_killed(machine))
        if lasting is not None:
            (machine.place.share / lasting.name).write_bytes(lasting.read_bytes())
            machine.run(f"mkdir -p /var/lib && tar -C /var/lib -xf /run/share/{lasting.name}")
        programs = dict(
            zip(("containerd", "kubelet", "agent", "plugin"), start(machine, self.plane, name), strict=True)
        )
        worker = self.workers[name] = Worker(name, sfsim, programs, held)
        return worker

    def kill(self, name: str) -> None:
        """Pull a node's plug."""
        self.workers.pop(name).held.close()

    def reboot(self, name: str) -> Worker:
        """Pull its plug and plug it in again: an empty kernel, an empty /run, the disk as it was."""
        worker = self.workers[name]
        kept = worker.machine.place.share / "lasting.tar"
        worker.machine.run(f"tar -C /var/lib -cf /run/share/{kept.name} {' '.join(_LASTING)}")
        lasting = self.plane.folder / f"{name}.tar"
        lasting.write_bytes(kept.read_bytes())
        self.kill(name)
        return self.start(name, lasting)

    # --- controllers ---

    def start_controller(self, identity: str) -> None:
        """Start a controller; the first one works, others wait for its Lease."""
        kubeconfig = str(self.kubectl.kubeconfig)
        command = [sys.executable, "-m", "subfunction_operator", "controller", "--kubeconfig", kubeconfig]
        log = self.plane.folder / f"controller-{identity}.log"
        self.controllers[identity] = Guarded([*command, "--identity", identity, "--gone-grace", "5"], log)

    def kill_controller(self, identity: str) -> None:
        """SIGKILL it."""
        self.controllers.pop(identity).kill()

    def leader(self) -> str:
        """Who holds the Lease."""
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/subfunction-controller"
        return str(self.plane.request("GET", path)["spec"].get("holderIdentity", ""))

    # --- objects ---

    def apply_pool(self, name: str, replicas: int, **spec: Any) -> None:
        """`kubectl apply` a pool of mlx5 sub-functions, so many on each node's first parent."""
        whole = {
            "replicas": replicas,
            "per": "Node",
            "parents": [{"device": PARENT}],
            "template": {"spec": {"flavour": "mlx5"}},
            **spec,
        }
        manifest = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionPool", "metadata": {"name": name}}
        self.kubectl.kubectl("apply", "-f", "-", manifest={**manifest, "spec": whole})

    def scale(self, name: str, replicas: int) -> None:
        """`kubectl scale`."""
        self.kubectl.kubectl("scale", f"sfpool/{name}", f"--replicas={replicas}")

    def delete_pool(self, name: str) -> None:
        """Delete a pool and, as the garbage collector would, what it owns; wait until they are gone."""
        self.plane.request("DELETE", f"{_POOLS}/{name}")
        for found in self.objects():
            self.plane.request("DELETE", f"{_OBJECTS}/{found['metadata']['name']}")
        until("all are gone", self.objects, lambda found: not found)

    def objects(self) -> list[dict[str, Any]]:
        """All SubFunctions."""
        return list(self.plane.request("GET", _OBJECTS)["items"])

    def wanted(self, node: str) -> set[Identity]:
        """The sub-functions that the objects say a node has."""
        told = [found["status"] for found in self.objects() if found["spec"]["nodeName"] == node]
        return {(status["parent"], status["number"], status["macAddress"]) for status in told if "number" in status}

    def until_ready(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are exactly so many SubFunctions, and all are ready."""

        def ready(found: list[dict[str, Any]]) -> bool:
            return len(found) == count and all(condition(each, "Ready") == "True" for each in found)

        return until(f"{count} are ready", self.objects, ready)

    def until_true(self) -> None:
        """Wait until every kernel holds exactly what the objects say."""
        for name, worker in self.workers.items():
            until(f"{name} is as the objects say", partial(self._both, worker), _same)

    def until_counted(self, node: str, count: int) -> None:
        """Wait until a Node has so many mlx5 sub-functions to give."""

        def given() -> str | None:
            allocatable: dict[str, str] = self._node(node).get("status", {}).get("allocatable", {})
            return allocatable.get(MLX5)

        until(f"{node} has {count} to give", given, str(count).__eq__)

    def until_nodes_are_ready(self) -> None:
        """Wait until each kubelet has said that its Node is."""
        for name in self.workers:
            until(f"{name} is ready", partial(self._is_ready, name), bool)

    def _both(self, worker: Worker) -> tuple[set[Identity], set[Identity]]:
        return worker.kernel(), self.wanted(worker.name)

    def _is_ready(self, node: str) -> bool:
        return condition(self._node(node), "Ready") == "True"

    # --- pods ---

    def run_pod(self, name: str, node: str) -> Mapping[str, str]:
        """Create a pod that wants one sub-function, and wait until it runs; its environment."""
        self.plane.request("POST", _PODS, pod_of(name, Container(limits={MLX5: 1}), node=node))
        seen = until(f"{name} runs", lambda: self.workers[node].sight(name), bool)
        assert seen is not None
        return seen.env

    def run_static_pod(self, name: str, node: str) -> Mapping[str, str]:
        """Give a kubelet a pod that no API server tells it of; its environment."""
        worker = self.workers[node]
        pod = pod_of(name, Container(limits={MLX5: 1}), node=node)
        pod["metadata"]["namespace"] = "default"
        (worker.machine.place.share / f"{name}.json").write_text(json.dumps(pod))
        worker.machine.run(f"cp /run/share/{name}.json {STATIC}/")
        # The kubelet calls it after its node too.
        seen = until(f"{name} runs", lambda: worker.sight(f"{name}-{node}"), bool)
        assert seen is not None
        return seen.env

    def delete_pod(self, name: str) -> None:
        """Delete a pod, and wait until it is gone."""
        self.plane.request("DELETE", f"{_PODS}/{name}")
        until(f"{name} is gone", lambda: self._pod(name), lambda found: found is None)

    def _pod(self, name: str) -> Any:
        return self._get(f"{_PODS}/{name}")

    def _node(self, name: str) -> dict[str, Any]:
        return dict(self._get(f"/api/v1/nodes/{name}") or {})

    def _get(self, path: str) -> Any:
        try:
            return self.plane.request("GET", path)
        except CommandFailed as error:
            if error.code == 404:
                return None
            raise


def until(what: str, look: Callable[[], T], good: Callable[[T], object], timeout: float = PATIENCE) -> T:
    """Look again until it is good, twice a second: the machines need the processors.

    Raises:
        HarnessError: it was not, in `timeout` seconds; the last value is quoted.
    """
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not in {timeout:.0f} s: {what}; the last seen: {seen!r}"[:4000])
        time.sleep(0.5)
    return seen


def condition(found: Mapping[str, Any], kind: str) -> str:
    """Whether a condition of an object is true; empty where it says nothing."""
    conditions = found.get("status", {}).get("conditions", ())
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def _same(both: tuple[set[Identity], set[Identity]]) -> bool:
    return both[0] == both[1]


@contextlib.contextmanager
def _loaded_until_killed(machine: Machine) -> Iterator[Sfsim]:
    sfsim = Sfsim(machine)
    sfsim.load(switchdev=1)
    yield sfsim
    machine.console.check()


@contextlib.contextmanager
def whole_cluster() -> Iterator[WholeCluster]:
    """Start everything: three nodes, one controller."""
    snapshot = build_snapshot(Topology(disks=(disk(),)))
    with contextlib.ExitStack() as held:
        plane = held.enter_context(ControlPlane(reached=HOST))
        plane.install()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        kubeconfig = plane.folder / "kubeconfig"
        kubeconfig.write_text(plane.kubeconfig())
        cluster = WholeCluster(plane, snapshot, Cluster(kubeconfig))
        held.callback(_end, cluster)
        cluster.start_controller("first")
        for name in NAMES:
            cluster.start(name)
        cluster.until_nodes_are_ready()
        yield cluster


def _end(cluster: WholeCluster) -> None:
    for controller in cluster.controllers.values():
        controller.kill()
    for worker in cluster.workers.values():
        worker.held.close()
