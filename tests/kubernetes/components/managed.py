"""A cluster with its real controllers and scheduler; of its nodes, only what is below the kubelet is played."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from components.controllers import USERS, Controllers
from components.controlplane import ControlPlane
from components.helm import NAMESPACE, Helm
from components.nodes import Nodes
from rig.waiting import until
from subfunction_simulator.kubectl import kubectl

PATIENCE: Final = 180.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """As its administrator has it."""

    plane: ControlPlane
    controllers: Controllers
    nodes: Nodes
    helm: Helm
    kubeconfig: Path

    def command(self, *words: str) -> list[str]:
        """Give the command of a kubectl."""
        return [str(kubectl()), "--kubeconfig", str(self.kubeconfig), *words]

    def kubectl(self, *words: str, given: Any = None) -> str:
        """Run `kubectl WORDS`, with a manifest piped into it, and give what it prints."""
        told = None if given is None else json.dumps(given)
        environment = {"HOME": str(self.plane.folder)}
        done = subprocess.run(
            self.command(*words), env=environment, input=told, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, *words: str) -> list[Any]:
        """Give the objects that `kubectl get WORDS` finds."""
        items: list[Any] = json.loads(self.kubectl("get", *words, "-o", "json"))["items"]
        return items

    def pods(self, component: str) -> dict[str, Any]:
        """Give the pods of one of the chart's programs, by node."""
        label = f"app.kubernetes.io/component={component}"
        found = self.listed("pods", "-n", NAMESPACE, "-l", label)
        by_node = {each["spec"].get("nodeName") or f"none yet: {each['metadata']['name']}": each for each in found}
        assert len(by_node) == len(found), f"two on a node: {[each['metadata']['name'] for each in found]}"
        return by_node

    def until(self, condition: Any, what: str) -> None:
        """Wait for what the cluster does by itself."""
        until(lambda: self.nodes.live() or condition(), what, within=PATIENCE)

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Self]:
        """Start one without a node; it takes about seven seconds."""
        with (
            # As OpenShift has it: who sets an owner must be able to hold or delete what it sets.
            ControlPlane(users=USERS, admission=("OwnerReferencesPermissionEnforcement",), managed=True) as plane,
            tempfile.TemporaryDirectory(prefix="op") as folder,
            Nodes(plane, Path(folder)) as nodes,
            Controllers(plane) as controllers,
        ):
            kubeconfig = plane.folder / "kubeconfig"
            kubeconfig.write_text(plane.kubeconfig())
            yield cls(plane, controllers, nodes, Helm(plane.folder, kubeconfig), kubeconfig)
