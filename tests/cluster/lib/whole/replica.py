"""A pod of the controller's Deployment, as a process of the host, with its kubelet's part: it is started again."""

import itertools
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Final

from components.helm import NAMESPACE
from components.workload import Workload
from harness.process import Guarded

_BACK_OFF: Final = 1.0
"""Seconds until it is started again; a kubelet waits ten, the second time twenty."""


class Replica:
    """One that runs, until `end`; each start has an identity of its own, as by a host's name and random letters."""

    def __init__(self, workload: Workload, name: str, kubeconfig: Path) -> None:
        self.name = name
        self._workload = workload
        self._kubeconfig = kubeconfig
        self.log = kubeconfig.with_name(f"controller-{name}.log")
        self._over = threading.Event()
        self._changing = threading.Lock()
        self._process: Guarded | None = None
        self._thread = threading.Thread(target=self._keep, name=f"kubelet of {name}", daemon=True)
        self._thread.start()

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it for good, as a kubelet does; by SIGKILL, as a node that dies does."""
        self._over.set()
        self._signal(number)
        self._thread.join(self._workload.pod["spec"]["terminationGracePeriodSeconds"])
        self._signal(signal.SIGKILL)
        self._thread.join()

    def _signal(self, number: signal.Signals) -> None:
        with self._changing:
            if self._process is not None:
                os.kill(self._process.pid, number)

    def _keep(self) -> None:
        for start in itertools.count(1):
            with self._changing:
                if self._over.is_set():
                    return
                process = self._process = Guarded(self._command(start), self.log)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            with self._changing:
                self._process = None
                process.kill()
            self._over.wait(_BACK_OFF)

    def _command(self, start: int) -> list[str]:
        settings = self._workload.environment(node="") | {
            "SUBFUNCTION_KUBECONFIG": str(self._kubeconfig),
            "SUBFUNCTION_LEASE_NAMESPACE": NAMESPACE,
            "SUBFUNCTION_IDENTITY": f"{self.name}.{start}",
            # A pod has a network of its own; here two of them would want one port.
            "SUBFUNCTION_LISTEN": "",
        }
        _, *words = self._workload.command
        environment = [f"{name}={value}" for name, value in settings.items()]
        return ["/usr/bin/env", *environment, sys.executable, "-m", "subfunction_operator", *words]
