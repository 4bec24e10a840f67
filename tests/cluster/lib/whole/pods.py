"""Pods with one sub-function each, as users have them; with the parts of the scheduler and of a ReplicaSet.

A pod is bound to a node once that has one to give, by its Node's word. One that its kubelet refuses has failed for
good, and is replaced: so it goes while a device plugin is away of which the Node does not say so yet.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.controlplane import ControlPlane
from whole import objects
from whole.waiting import condition, until
from whole.worker import Worker
from whole_node import STATIC
from worker.bench import PODS, Container, pod_of
from worker.sight import Sight

MLX5: Final = "subfunction.dev/mlx5"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A pod that the kubelet of its node refused, and from when to when it was asked to run it."""

    pod: str
    node: str
    why: str
    began: float
    ended: float


class Pods:
    """The pods of the namespace `default`."""

    def __init__(self, plane: ControlPlane, workers: Mapping[str, Worker]) -> None:
        self._plane = plane
        self._workers = workers
        self.refusals: list[Refusal] = []

    def run(self, name: str, node: str) -> Mapping[str, str]:
        """Have one run on a node; its environment."""
        while True:
            until(f"{node} has one to give", lambda: self._room(node), lambda room: room > 0)
            began = time.monotonic()
            made = self._plane.request("POST", PODS, _manifest(name, node))
            pod = until(f"{name} runs or is refused", lambda: self.get(name), _decided)
            if pod["status"].get("phase") != "Failed":
                return self._told(node, f"{name}_{made['metadata']['uid']}")
            self.refusals.append(Refusal(name, node, pod["status"].get("message", ""), began, time.monotonic()))
            self.delete(name)

    def run_static(self, name: str, node: str) -> Mapping[str, str]:
        """Have one run of which no API server told its kubelet; its environment."""
        worker = self._workers[node]
        manifest = _manifest(name, node)
        manifest["metadata"]["namespace"] = "default"
        (worker.machine.place.share / f"{name}.json").write_text(json.dumps(manifest))
        worker.machine.run(f"cp /run/share/{name}.json {STATIC}/")
        # The kubelet calls it after its node too.
        return self._told(node, f"{name}-{node}_*")

    def get(self, name: str) -> Any:
        """The object of one; None where there is none."""
        return objects.found(self._plane, f"{PODS}/{name}")

    def allocatable(self, node: str) -> int:
        """How many mlx5 sub-functions a Node says that it has for pods."""
        told = self._plane.request("GET", f"/api/v1/nodes/{node}")["status"].get("allocatable", {})
        return int(told.get(MLX5, 0))

    def delete(self, name: str) -> None:
        """Delete one, and wait until its kubelet has ended it."""
        objects.delete(self._plane, f"{PODS}/{name}")
        until(f"{name} is gone", lambda: self.get(name), lambda found: found is None)

    def delete_all(self) -> None:
        """The same of all; and what was refused is forgotten."""
        self.refusals.clear()
        for worker in self._workers.values():
            worker.machine.run(f"rm -f {STATIC}/*.json")
        for pod in self._all():
            objects.delete(self._plane, f"{PODS}/{pod['metadata']['name']}")
        until("all pods are gone", self._all, lambda found: not found)

    def _all(self, selector: str = "") -> list[Any]:
        return list(self._plane.request("GET", f"{PODS}{selector}")["items"])

    def _room(self, node: str) -> int:
        there = self._all(f"?fieldSelector=spec.nodeName={node},status.phase!=Failed")
        return self.allocatable(node) - len(there)

    def _told(self, node: str, pod: str) -> Mapping[str, str]:
        def sight() -> Sight | None:
            return self._workers[node].sight(pod)

        seen = until(f"{pod} tells what it sees", sight, bool)
        assert seen is not None
        return seen.env


def _manifest(name: str, node: str) -> dict[str, Any]:
    manifest = pod_of(name, Container(limits={MLX5: 1}), node=node)
    # Without any grace its object would be gone before its kubelet has ended it, and given its device back.
    manifest["spec"]["terminationGracePeriodSeconds"] = 1
    return manifest


def _decided(pod: Any) -> bool:
    return pod is not None and (pod["status"].get("phase") == "Failed" or condition(pod, "Ready") == "True")
