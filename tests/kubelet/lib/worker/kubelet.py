"""The real kubelet, in an enclosure, at a real API server."""

import contextlib
import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

from harness.errors import MachineDied
from harness.process import Guarded
from harness.wait import until
from worker.enclosure import Enclosure, children
from worker.worker import NODE

_SECONDS_TO_START = 60.0
_SECONDS_TO_END = 20.0


class Kubelet:
    """Starts and ends a kubelet over one folder. Calls block."""

    def __init__(self, enclosure: Enclosure, binary: Path, runtime: Path, kubeconfig: Path) -> None:
        self.root = enclosure.run / "kubelet"
        self.logs = enclosure.run / "pods"
        self.log = enclosure.run / "kubelet.log"
        self._enclosure = enclosure
        self._health, self._port = _free_port(), _free_port()
        configuration = enclosure.run / "kubelet.json"
        configuration.write_text(json.dumps(self._configuration(runtime)))
        # By the constant path, under which the enclosure has the run's folder: containers are told host paths below it.
        self._command = [
            str(binary),
            f"--config={configuration}",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={NODE}",
            "--node-ip=127.0.0.1",
        ]
        self._process: Guarded | None = None

    def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._process = Guarded(self._enclosure.command(*self._command), self.log)

    def until_ready(self) -> None:
        """Wait until it says that it is well.

        Raises:
            MachineDied: it ended instead.
        """

        def well() -> bool:
            if self._process is None or self._process.ended():
                raise MachineDied("the kubelet ended by itself", "\n".join(self.log.read_text().splitlines()[-30:]))
            return _answers(f"http://127.0.0.1:{self._health}/healthz")

        until(well, bool, _SECONDS_TO_START)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it with a signal, and wait."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            for child in children(process.pid):
                os.kill(child, number)
        until(process.ended, bool, _SECONDS_TO_END)
        process.kill()

    def _configuration(self, runtime: Path) -> dict[str, object]:
        return configuration(f"unix://{runtime}") | {
            # cgroups of version 1, those of a run in the midst of somebody else's.
            "failCgroupV1": False,
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "port": self._port,
            "healthzPort": self._health,
            "podLogsDir": str(self.logs),
            # Without CAP_SYS_RESOURCE it could not be lowered.
            "oomScoreAdj": 0,
        }


def configuration(runtime: str) -> dict[str, object]:
    """Give the settings of every kubelet of the tests; `runtime`: the URL of the container runtime's socket."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": runtime,
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "resolvConf": "/dev/null",
        "evictionHard": {"memory.available": "10Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "address": "127.0.0.1",
        # A test waits for what the kubelet tells of itself, and for a container that ends time and again.
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "5s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "featureGates": {"KubeletCrashLoopBackOffMax": True},
    }


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
