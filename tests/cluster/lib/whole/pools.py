"""Pools of sub-functions and their members, as an administrator has them; with the garbage collector's part."""

from typing import Any, Final

from components.controlplane import ControlPlane
from node_in_vm import PARENT, Cluster
from whole import objects
from whole.waiting import condition, until
from whole.worker import Identity

_GROUP: Final = "/apis/subfunction.dev/v1alpha1"


class Pools:
    """All SubFunctionPools of the cluster, and all SubFunctions."""

    def __init__(self, plane: ControlPlane, kubectl: Cluster) -> None:
        self._plane = plane
        self._kubectl = kubectl

    def apply(self, name: str, replicas: int) -> None:
        """`kubectl apply` a pool of mlx5 sub-functions, so many on each node's first parent."""
        spec = {
            "replicas": replicas,
            "per": "Node",
            "parents": [{"device": PARENT}],
            "template": {"spec": {"flavour": "mlx5"}},
        }
        manifest = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionPool", "metadata": {"name": name}}
        self._kubectl.kubectl("apply", "-f", "-", manifest={**manifest, "spec": spec})

    def scale(self, name: str, replicas: int) -> None:
        """`kubectl scale`."""
        self._kubectl.kubectl("scale", f"sfpool/{name}", f"--replicas={replicas}")

    def members(self) -> list[dict[str, Any]]:
        """All SubFunctions."""
        return list(self._plane.request("GET", f"{_GROUP}/subfunctions")["items"])

    def told(self, node: str) -> set[Identity]:
        """The sub-functions that the objects say a node has."""
        said = [found["status"] for found in self.members() if found["spec"]["nodeName"] == node]
        return {(status["parent"], status["number"], status["macAddress"]) for status in said if "number" in status}

    def until_ready(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are exactly so many SubFunctions, and all are ready."""

        def ready(found: list[dict[str, Any]]) -> bool:
            return len(found) == count and all(condition(each, "Ready") == "True" for each in found)

        return until(f"{count} are ready", self.members, ready)

    def delete_all(self) -> None:
        """Delete every pool and, as the garbage collector would, what they own; wait until they are gone."""
        for kind in ("subfunctionpools", "subfunctions"):
            for found in self._plane.request("GET", f"{_GROUP}/{kind}")["items"]:
                objects.delete(self._plane, f"{_GROUP}/{kind}/{found['metadata']['name']}")
        until("all are gone", self.members, lambda found: not found)
