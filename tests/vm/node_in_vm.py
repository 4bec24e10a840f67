"""A node as a cluster has it: the agent in a machine, the API server and kubectl on the host.

The agent's resync and its looks at who holds what are an hour apart unless a test says otherwise: what is seen to
happen is due to the kernel's announcements.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from harness.machine import HOST, Machine, Process
from harness.mlx5 import Mlx5
from harness.nic import Nic
from harness.sfsim import Sfsim
from harness.wait import until
from rig.confinement import NET_ADMIN
from subfunction_simulator.kubectl import kubectl

T = TypeVar("T")

NAME: Final = "worker-1"
PCI, OTHER_PCI = "0000:05:00.0", "0000:05:00.1"
PARENT, OTHER = f"pci/{PCI}", f"pci/{OTHER_PCI}"
HOUR: Final = "3600"
_KUBECONFIG: Final = "/run/share/kubeconfig"
_LATENESS: Final = "/run/lateness"
_PROGRAMS: Final = "/src/tests/vm/programs"
CONFINING: Final = f"{_PROGRAMS}:/src/tests/agent/lib"
"""The PYTHONPATH of programs/confined.py."""
_READS: Final = ("/run/subfunction/allocations", "/var/lib/kubelet/pod-resources", "/var/lib/kubelet/device-plugins")
_WRITES: Final = (
    "/run/subfunction/devices",
    "/var/lib/subfunction",
    "/var/run/cdi",
    "/var/run/k8s.cni.cncf.io/devinfo/dp",
)
_OBJECTS: Final = "apis/subfunction.dev/v1alpha1/subfunctions"
_NODE: Final = {"apiVersion": "v1", "kind": "Node"}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server, with what a person has of it: kubectl and a kubeconfig."""

    kubeconfig: Path

    def kubectl(self, *words: str, manifest: Any = None, timeout: float = 90) -> str:
        """Type a kubectl line; what it prints."""
        run = subprocess.run(
            [kubectl(), *words],
            input=None if manifest is None else json.dumps(manifest),
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert run.returncode == 0, f"kubectl {' '.join(words)}: {run.stdout}{run.stderr}"
        return run.stdout

    def apply(self, name: str, **spec: Any) -> None:
        """`kubectl apply` a SubFunction; mlx5 on the first parent, unless told otherwise."""
        self.apply_all({name: spec})

    def apply_all(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """The same, of several at once."""
        common = {"nodeName": NAME, "flavour": "mlx5", "parent": {"device": PARENT}}
        items = [
            {
                "apiVersion": "subfunction.dev/v1alpha1",
                "kind": "SubFunction",
                "metadata": {"name": name},
                "spec": {**common, **spec},
            }
            for name, spec in specs.items()
        ]
        self.kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "List", "items": items})

    def delete(self, *names: str) -> None:
        """`kubectl delete sf`, without waiting for its end."""
        self.kubectl("delete", "sf", *names, "--wait=false")

    def get(self, name: str) -> dict[str, Any] | None:
        """A SubFunction, by HTTP: kubectl takes long to start; None where there is none."""
        (server,) = (line.split()[-1] for line in self.kubeconfig.read_text().splitlines() if "server:" in line)
        try:
            with urllib.request.urlopen(f"{server}/{_OBJECTS}/{name}", timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return found

    def ready(self, name: str) -> Mapping[str, str]:
        """The condition Ready of a SubFunction, once it speaks of the spec as it is; else nothing."""
        found = self.get(name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        ready: dict[str, str] = next((each for each in conditions if each["type"] == "Ready"), {})
        told = ready.get("observedGeneration") == found.get("metadata", {}).get("generation")
        return ready if told else {}


def _confinement(sysfs: str = "rw", keeps: Sequence[str] = (NET_ADMIN,)) -> str:
    """The chart's confinement of an agent, as programs/confined.py takes it: the host's /sys is at /host/sys."""
    mounts = [
        *((path, path, "ro") for path in (*_READS, _KUBECONFIG)),
        *((path, path, "rw") for path in _WRITES),
        ("/sys", "/host/sys", sysfs),
        ("/run/own-tmp", "/tmp", "rw"),
    ]
    return json.dumps({"mounts": mounts, "keeps": list(keeps)})


@contextlib.contextmanager
def api_server() -> Iterator[Cluster]:
    """The embedded API server, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="sf-api-") as folder:
        kubeconfig = Path(folder, "kubeconfig")
        command = [sys.executable, "-m", "subfunction_simulator", "apiserver", "--kubeconfig", str(kubeconfig)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                until(kubeconfig.exists, bool, timeout=60)
                cluster = Cluster(kubeconfig)
                cluster.kubectl("create", "-f", "-", manifest={**_NODE, "metadata": {"name": NAME}})
                yield cluster
            finally:
                server.terminate()


@dataclass(slots=True)
class Node:
    """A machine with the agent in it, and its cluster."""

    nic: Nic
    cluster: Cluster
    kubelet: Process
    options: dict[str, str] = field(default_factory=dict)
    timed: bool = False
    """Whether a clock runs in the agent's event loop; it takes no options then."""
    confinement: Mapping[str, Any] | None = None
    """How the agent's confinement differs from the chart's (`_confinement`); None where it may do all that root may."""
    agents: list[Process] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        """The machine."""
        return self.nic.machine

    @property
    def sfsim(self) -> Sfsim:
        """The NIC, where it is the simulated one."""
        assert isinstance(self.nic, Sfsim)
        return self.nic

    @property
    def mlx5(self) -> Mlx5:
        """The NIC, where it is the real mlx5."""
        assert isinstance(self.nic, Mlx5)
        return self.nic

    def start_agent(self) -> None:
        """Start the agent, as a DaemonSet would."""
        name = f"agent-{next(_numbers)}"
        if self.timed:
            env = {"PYTHONPATH": _PROGRAMS}
            args = [NAME, _KUBECONFIG, _LATENESS]
            self.agents.append(self.machine.spawn(module="timed_agent", args=args, name=name, env=env))
            return
        settings = {"resync": HOUR, "usage-interval": HOUR, "log-level": "debug", **self.options}
        args = [word for name, value in settings.items() for word in (f"--{name}", value) if word]
        args = ["agent", "--kubeconfig", _KUBECONFIG, "--node-name", NAME, *args]
        module, env = "subfunction_operator", {}
        if self.confinement is not None:
            module, args = "confined", [_confinement(**self.confinement), module, *args, "--sysfs", "/host/sys"]
            env = {"PYTHONPATH": CONFINING}
        self.agents.append(self.machine.spawn(module=module, args=args, name=name, env=env))

    def kill_agent(self) -> None:
        """SIGKILL; a thread of it that waits in the kernel keeps a shell of it there."""
        self.agents[-1].signal(9)

    def until(self, look: Callable[[], T], good: Callable[[T], object], timeout: float = 60) -> T:
        """Look again until it is good, and fail with the agent's last words; ten times a second, as looks cost much."""
        deadline = time.monotonic() + timeout
        while not good(seen := look()):
            if time.monotonic() > deadline:
                lines = self.agents[-1].log.read_text().splitlines() if self.agents else []
                log = "\n".join(line[:200] for line in lines[-40:])
                pytest.fail(f"not in {timeout:.0f} s; the last seen: {seen}\n--- the agent ---\n{log}", pytrace=False)
            time.sleep(0.1)
        return seen

    def until_ready(self, name: str, timeout: float = 60) -> dict[str, Any]:
        """Wait until it is as its spec asks; its status."""
        self.until(lambda: self.cluster.ready(name), lambda ready: ready.get("status") == "True", timeout)
        return self.status(name)

    def until_refused(self, name: str, reason: str, timeout: float = 60) -> str:
        """Wait until it is not ready for this reason; its message."""
        ready = self.until(lambda: self.cluster.ready(name), lambda ready: ready.get("reason") == reason, timeout)
        assert ready["status"] == "False"
        return ready["message"]

    def until_gone(self, *names: str, timeout: float = 60) -> None:
        """Wait until there are no such objects."""
        for name in names:
            self.until(partial(self.cluster.get, name), lambda found: found is None, timeout)

    def made(self, name: str, **spec: Any) -> dict[str, Any]:
        """Apply it and wait until it is ready; its status."""
        self.cluster.apply(name, **spec)
        return self.until_ready(name)

    def removed(self, *names: str) -> None:
        """Delete them and wait until they are gone."""
        self.cluster.delete(*names)
        self.until_gone(*names)

    def status(self, name: str) -> dict[str, Any]:
        """The status of a SubFunction, empty where it says nothing."""
        status: dict[str, Any] = (self.cluster.get(name) or {}).get("status", {})
        return status

    def port(self, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """The port that a status names, as iproute2 shows it."""
        return self.nic.port(f"{status['parent']}/{status['port']}")

    def lateness(self) -> list[float]:
        """By how many seconds the event loop of a timed agent was late, each time it was late by 10 ms or more."""
        return [int(line) / 1000 for line in self.shell(f"cat {_LATENESS}").split()]

    def forget_lateness(self) -> None:
        """Measure anew."""
        self.shell(f": > {_LATENESS}")

    def shell(self, line: str, timeout: float = 30) -> str:
        """Type a line on the node; what it prints."""
        return self.machine.run(line, timeout=timeout).stdout

    def empty(self) -> None:
        """Delete every SubFunction, and wait until the kernel has none either."""
        self.cluster.kubectl("delete", "sf", "--all", "--timeout=60s")
        self.until(lambda: self.nic.ports("pcisf"), lambda ports: not ports, 20)
        self.until(self.nic.functions, lambda names: not names, 20)


def started(
    nic: Nic,
    cluster: Cluster,
    *,
    timed: bool = False,
    confinement: Mapping[str, Any] | None = None,
    **options: str,
) -> Node:
    """Start a kubelet and an agent on this machine; `options` are flags of the agent."""
    machine = nic.machine
    (machine.place.share / "kubeconfig").write_text(cluster.kubeconfig.read_text().replace("127.0.0.1", HOST))
    machine.run("mountpoint -q /var/lib || { mkdir -p /var/lib && mount -t tmpfs tmpfs /var/lib; }")
    # The program, and not the simulator's command line, which takes ten seconds more to import in TCG.
    kubelet = machine.spawn(module="kubelet", args=["/var/lib/kubelet"], name="kubelet", env={"PYTHONPATH": _PROGRAMS})
    flags = {name.replace("_", "-"): value for name, value in options.items()}
    node = Node(nic, cluster, kubelet, flags, timed, confinement)
    node.start_agent()
    # Without a kubelet nobody can tell whether a pod has a device, and nothing is taken away.
    machine.run("until [ -S /var/lib/kubelet/pod-resources/kubelet.sock ]; do sleep 0.1; done", timeout=60)
    return node


@contextlib.contextmanager
def running(
    nic: Nic,
    cluster: Cluster,
    *,
    timed: bool = False,
    confinement: Mapping[str, Any] | None = None,
    **options: str,
) -> Iterator[Node]:
    """A kubelet and an agent on this machine, until the end of the block; `options` are flags of the agent."""
    node = started(nic, cluster, timed=timed, confinement=confinement, **options)
    try:
        yield node
    finally:
        node.agents[-1].signal(15)
        node.kubelet.signal(15)
    node.agents[-1].wait()
    node.kubelet.wait()
