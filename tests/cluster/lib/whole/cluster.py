"""Three whole nodes in machines; on the host the API server with the chart on it, the controller, kubectl and Helm.

Played here, since there is no controller manager, no scheduler and no kubelet with our image:

- the DaemonSet controller: pods by the template of now, a node at a time (`roll_out`);
- the Deployment's controller, and the kubelet of its pods (`replica.py`);
- the kubelet of the DaemonSets' pods: their processes, tokens, folders and probes (`daemon.py`). Of a container they
  have the environment, mounts, capabilities and no_new_privs of the chart; no cgroup, no seccomp, and the device plugin
  no network of its own;
- the scheduler and the ReplicaSets of users' pods (`pods.py`), which the real kubelets and containerds run;
- the garbage collectors of owned objects and of a deleted node's pods. And a Node that dies stays Ready in its status.
"""

import contextlib
import dataclasses
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from components import accounts
from components.controlplane import ControlPlane
from components.helm import NAMESPACE
from harness.machine import HOST
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import MLX5
from node_disk import disk
from node_in_vm import Cluster
from whole.daemon import delete_pods
from whole.objects import found
from whole.pods import Pods, Refusal
from whole.pools import Pools
from whole.release import Release
from whole.replica import Replica
from whole.waiting import condition, until
from whole.worker import Identity, Worker

NAMES: Final = ("worker-1", "worker-2", "worker-3")
_LEASE: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/subfunction-controller"


@dataclass(frozen=True, slots=True)
class Absence:
    """The time in which a node had not both its programs ready."""

    began: float
    ended: float

    def explains(self, refusal: Refusal) -> bool:
        """Whether the kubelet may have been without a device plugin when it refused the pod."""
        return refusal.began < self.ended and self.began < refusal.ended


@dataclass(slots=True)
class WholeCluster:
    """The cluster, as its administrator has it."""

    plane: ControlPlane
    snapshot: Snapshot
    kubectl: Cluster
    release: Release
    pools: Pools
    pods: Pods
    workers: dict[str, Worker]
    replicas: dict[str, Replica] = field(default_factory=dict)

    # --- nodes ---

    def start(self, *names: str, lasting: bytes | None = None) -> None:
        """Start nodes, and on each what the DaemonSets have there; `lasting` is what an earlier machine left."""
        for name in names:
            self.workers[name] = Worker.start(name, self.plane, self.snapshot, lasting)
        for name in names:
            until(f"{name} is registered", partial(self._node, name), bool)
            for workload in self.release.daemon_sets():
                self.workers[name].start_daemon(workload)
        for name in names:
            until(f"{name} is ready", partial(self._node, name), lambda node: condition(node, "Ready") == "True")
            self.workers[name].until_ready()

    def kill(self, name: str) -> None:
        """Pull a node's plug."""
        self.workers.pop(name).held.close()

    def reboot(self, name: str) -> None:
        """Pull its plug and plug it in again: an empty kernel, an empty /run, the disk as it was."""
        lasting = self.workers[name].lasting()
        self.kill(name)
        self.start(name, lasting=lasting)

    def delete_node(self, name: str) -> None:
        """`kubectl delete node` of one that died, and what the garbage collectors take with it."""
        self.kubectl.kubectl("delete", "node", name)
        self.kubectl.kubectl("delete", "sfnode", name)
        delete_pods(self.plane, name)

    def until_counted(self, count: int) -> None:
        """Wait until each Node has so many mlx5 sub-functions to give."""

        for name in self.workers:
            until(f"{name} has {count} to give", partial(self.pods.allocatable, name), count.__eq__)

    def until_true(self) -> None:
        """Wait until every kernel holds exactly what the objects say."""
        for name, worker in self.workers.items():
            until(f"{name} is as the objects say", partial(self._both, worker), lambda both: both[0] == both[1])

    def _both(self, worker: Worker) -> tuple[set[Identity], set[Identity]]:
        return worker.kernel(), self.pools.told(worker.name)

    def _node(self, name: str) -> dict[str, Any]:
        return found(self.plane, f"/api/v1/nodes/{name}") or {}

    # --- the programs of the chart ---

    def start_controller(self, name: str) -> None:
        """Start a pod of the Deployment; the first one works, others wait for its Lease."""
        workload = self.release.controller()
        token = accounts.pod_token(self.plane, NAMESPACE, workload.account, None)
        kubeconfig = self.plane.folder / f"kubeconfig-{name}"
        kubeconfig.write_text(self.plane.kubeconfig(token))
        self.replicas[name] = Replica(workload, name, kubeconfig)

    def kill_controller(self, name: str) -> None:
        """Pull the plug of its node."""
        self.replicas.pop(name).end(signal.SIGKILL)

    def leader(self) -> str:
        """Who holds the Lease; empty: nobody."""
        lease = found(self.plane, _LEASE)
        holder = lease["spec"].get("holderIdentity") if lease else ""
        return (holder or "").partition(".")[0]

    def roll_out_controller(self, name: str) -> None:
        """A new pod, and the others end (maxSurge 1, maxUnavailable 1)."""
        before = tuple(self.replicas)
        self.start_controller(name)
        for each in before:
            self.replicas.pop(each).end()

    def roll_out(self, name: str) -> Absence:
        """End a node's pods of all DaemonSets and start new ones (maxSurge 0); wait until these are ready."""
        began = time.monotonic()
        for workload in self.release.daemon_sets():
            self.workers[name].roll(workload)
        self.workers[name].until_ready()
        return Absence(began, time.monotonic())

    @contextlib.contextmanager
    def without_api_server(self) -> Iterator[None]:
        """The API server is away for the block."""
        self.plane.stop_server()
        try:
            yield
        finally:
            self.plane.start_server()

    # --- between two tests ---

    def clear(self) -> None:
        """Bring it back to three nodes that are up, one controller, no pod and no sub-function."""
        self.start(*(name for name in NAMES if name not in self.workers))
        for worker in self.workers.values():
            worker.until_ready()
        while len(self.replicas) > 1:
            self.replicas.popitem()[1].end()
        if not self.replicas:
            self.start_controller("first")
        self.pods.delete_all()
        self.pools.delete_all()
        self.until_true()

    def end(self) -> None:
        """End everything but the API server."""
        for replica in self.replicas.values():
            replica.end(signal.SIGKILL)
        for worker in self.workers.values():
            worker.held.close()


@contextlib.contextmanager
def whole_cluster() -> Iterator[WholeCluster]:
    """Start everything: the chart, one controller, three nodes."""
    snapshot = build_snapshot(dataclasses.replace(MLX5, disks=(disk(),)))
    with ControlPlane(reached=HOST) as plane:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        kubeconfig = plane.folder / "kubeconfig"
        kubeconfig.write_text(plane.kubeconfig())
        kubectl, workers = Cluster(kubeconfig), dict[str, Worker]()
        release = Release(plane, kubeconfig)
        release.install()
        cluster = WholeCluster(plane, snapshot, kubectl, release, Pools(plane, kubectl), Pods(plane, workers), workers)
        try:
            cluster.start_controller("first")
            cluster.start(*NAMES)
            yield cluster
        finally:
            cluster.end()
