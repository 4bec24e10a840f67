"""A node of the cluster: a machine, its kernel, what runs on it, and what its pods told."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Self

from components.controlplane import ControlPlane, answers
from components.workload import Workload
from harness.machine import SOURCES, Machine
from harness.mlx5 import Mlx5
from harness.snapshot import Snapshot
from whole.daemon import Daemon, delete_pods, started
from whole.waiting import until
from whole_node import start_kubelet
from worker.sight import Sight

_LASTING: Final = ("kubelet/device-plugins/kubelet_internal_checkpoint", "subfunction")
"""What of /var/lib a reboot leaves, of all that matters here."""
_ARCHIVE: Final = "lasting.tar"
_COMPILED: Final = ("core", "operator", "deviceplugin")

Identity = tuple[str, int, str]
"""A sub-function by its parent, its number and its address."""


@dataclass(slots=True)
class Worker:
    """The node; `held` is what ends with its machine."""

    name: str
    plane: ControlPlane
    mlx5: Mlx5
    held: contextlib.ExitStack
    daemons: dict[str, Daemon] = field(default_factory=dict)
    _ports: dict[int, int] = field(default_factory=dict)
    _starts: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, name: str, plane: ControlPlane, snapshot: Snapshot, lasting: bytes | None = None) -> Self:
        """Start a machine with containerd and a kubelet; `lasting` is what an earlier machine of its name left."""
        with contextlib.ExitStack() as held:
            machine = held.enter_context(snapshot.restore())
            mlx5 = held.enter_context(_switched_until_killed(machine))
            if lasting is not None:
                (machine.place.share / _ARCHIVE).write_bytes(lasting)
                machine.run(f"mkdir -p /var/lib && tar -C /var/lib -xf /run/share/{_ARCHIVE}")
            # An image has it compiled, and whoever is confined cannot write it down.
            machine.spawn(
                module="compileall", args=["-q", *(f"{SOURCES}/{each}" for each in _COMPILED)], name="compiled"
            )
            start_kubelet(machine, plane, name)
            return cls(name, plane, mlx5, held.pop_all())

    @property
    def machine(self) -> Machine:
        """Its machine."""
        return self.mlx5.machine

    def kernel(self) -> set[Identity]:
        """The sub-functions of its kernel, by iproute2."""
        return {
            (handle.rpartition("/")[0], int(port["sfnum"]), str(port["function"]["hw_addr"]))
            for handle, port in self.mlx5.ports("pcisf").items()
        }

    def lasting(self) -> bytes:
        """What its disk keeps when its plug is pulled now."""
        self.machine.run(f"tar -C /var/lib -cf /run/share/{_ARCHIVE} {' '.join(_LASTING)}")
        return (self.machine.place.share / _ARCHIVE).read_bytes()

    def sight(self, pod: str) -> Sight | None:
        """What the one container of a pod told, once it has; `pod` is its name and uid, as `blue_*`."""
        logs = f"/var/log/pods/default_{pod}/main/*.log"
        return Sight.of_log(self.machine.run(f"cat {logs} 2>/dev/null || true").stdout)

    # --- what DaemonSets have here ---

    def start_daemon(self, workload: Workload) -> None:
        """Start a DaemonSet's pod."""
        log = f"{workload.name}-{next(self._starts)}"
        self.daemons[workload.name] = started(self.plane, self.machine, self.name, workload, log)

    def roll(self, workload: Workload) -> None:
        """End a DaemonSet's pod, and then start one by the template of now."""
        self.daemons.pop(workload.name).end()
        delete_pods(self.plane, self.name, workload.name)
        self.start_daemon(workload)

    def until_ready(self) -> None:
        """Wait until `/readyz` of each says so; raises HarnessError where one ended."""
        until(f"all of {self.name} is ready", self._unready, lambda names: not names)

    def _unready(self) -> list[str]:
        for daemon in self.daemons.values():
            daemon.require()
        return [name for name, daemon in self.daemons.items() if not answers(f"{self._at(daemon)}/readyz")]

    def _at(self, daemon: Daemon) -> str:
        port = daemon.workload.port
        if port not in self._ports:
            self._ports[port] = self.machine.forward(port)
        return f"http://127.0.0.1:{self._ports[port]}"


@contextlib.contextmanager
def _switched_until_killed(machine: Machine) -> Iterator[Mlx5]:
    mlx5 = Mlx5(machine)
    mlx5.reset("switchdev")
    yield mlx5
    machine.console.check()
