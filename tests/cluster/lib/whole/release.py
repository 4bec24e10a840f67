"""The chart on the cluster's API server, by the real Helm."""

from pathlib import Path
from typing import Any, Final

from components.controlplane import ControlPlane
from components.helm import CHART, NAMESPACE, RELEASE, Helm
from components.workload import Workload

VALUES: Final = (
    # The machines' kernel has no AppArmor.
    "agent.appArmorProfile=Unconfined",
    # So that a test waits less: for who holds what, and for what a deleted Node left.
    "agent.usageInterval=1",
    "controller.goneGrace=5",
)
DAEMON_SETS: Final = ("agent", "device-plugin")
_APPS: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}"


class Release:
    """A release of the chart; its workloads are what the API server has now."""

    def __init__(self, plane: ControlPlane, kubeconfig: Path) -> None:
        self._plane = plane
        self._helm = Helm(plane.folder, kubeconfig)

    def install(self) -> None:
        """`helm install`, and wait until its kinds are served."""
        self._plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        self._helm("install", RELEASE, str(CHART), "--set", ",".join(VALUES))
        self._plane.until_served()

    def upgrade(self, *values: str) -> None:
        """`helm upgrade` with these values changed."""
        self._helm("upgrade", RELEASE, str(CHART), "--reuse-values", "--set", ",".join(values))

    def daemon_sets(self) -> list[Workload]:
        """What each node has a pod of."""
        return [self._workload("daemonsets", name) for name in DAEMON_SETS]

    def controller(self) -> Workload:
        """The Deployment."""
        return self._workload("deployments", "controller")

    def _workload(self, kind: str, name: str) -> Workload:
        made: Any = self._plane.request("GET", f"{_APPS}/{kind}/subfunction-{name}")
        return Workload(made)
