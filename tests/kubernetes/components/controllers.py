"""kube-controller-manager and kube-scheduler beside a control plane: what makes pods of it, and clears away.

Each controller has the account that Kubernetes gives it, and no more rights: a cluster of kubeadm's does the same.
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from components.binaries import Binaries, controllers
from components.controlplane import ControlPlane
from harness.errors import CommandFailed, MachineDied
from harness.process import Guarded

_MANAGER: Final = "controller-manager-of-the-tests"
_SCHEDULER: Final = "scheduler-of-the-tests"
USERS: Final[Mapping[str, str]] = {_MANAGER: "system:kube-controller-manager", _SCHEDULER: "system:kube-scheduler"}
"""Whom the control plane is to know: `ControlPlane(users=USERS, managed=True)`."""
_RUNNING: Final = (
    "daemonset-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "taint-eviction-controller",
    "validatingadmissionpolicy-status-controller",
)
_LAST_SIGN: Final = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"
_SECONDS_TO_START: Final = 60.0


class Controllers:
    """Both programs; `with` it, or `start` and `close`. All calls block."""

    def __init__(self, plane: ControlPlane, binaries: Binaries | None = None) -> None:
        self._plane = plane
        self._binaries = binaries or controllers()
        self._manager: Guarded | None = None
        self._scheduler: Guarded | None = None

    @property
    def log(self) -> Path:
        """What the controller manager has to say."""
        return self._plane.folder / "kube-controller-manager.log"

    def start(self) -> Self:
        """Start both, and wait until the controllers work; raises MachineDied."""
        try:
            self._scheduler = Guarded(self._scheduler_command(), self._plane.folder / "kube-scheduler.log")
            self.start_manager()
        except BaseException:
            self.close()
            raise
        return self

    def start_manager(self) -> None:
        """Start the controller manager, and wait until it has written; raises MachineDied."""
        with contextlib.suppress(CommandFailed):
            self._plane.request("DELETE", _LAST_SIGN)
        self._manager = Guarded(self._manager_command(), self.log)
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline and not self._manager.ended():
            with contextlib.suppress(CommandFailed):
                self._plane.request("GET", _LAST_SIGN)
                return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace").splitlines()[-40:]
        raise MachineDied("kube-controller-manager does not work", "\n".join(said))

    def stop_manager(self) -> None:
        """Kill the controller manager."""
        manager, self._manager = self._manager, None
        if manager is not None:
            manager.kill()

    def restart_manager(self) -> None:
        """Start it anew: its garbage collector looks for new kinds at once then, and every 30 seconds."""
        self.stop_manager()
        self.start_manager()

    def close(self) -> None:
        """End both."""
        self.stop_manager()
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.kill()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self.close()

    def _kubeconfig(self, token: str) -> Path:
        path = self._plane.folder / f"kubeconfig-{token}"
        path.write_text(self._plane.kubeconfig(token))
        return path

    def _manager_command(self) -> list[str]:
        return [
            str(self._binaries.controller_manager),
            f"--kubeconfig={self._kubeconfig(_MANAGER)}",
            f"--controllers={','.join(_RUNNING)}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._plane.key}",
            f"--root-ca-file={self._plane.authority}",
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            # Nobody renews a node's lease here: Ready is what a node says, or what a test does.
            "--node-monitor-grace-period=1h",
            "--node-startup-grace-period=1h",
            "--node-monitor-period=1s",
        ]

    def _scheduler_command(self) -> list[str]:
        return [
            str(self._binaries.scheduler),
            f"--kubeconfig={self._kubeconfig(_SCHEDULER)}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
