"""A whole node in a machine: kernel, kubelet, containerd, runc, agent, device plugin; etcd and API server on the host.

The programs that are not ours come on a disk of their own (`node_disk.py`). Their settings: those of `tests/kubelet`,
less what that needs since it runs in the midst of a host. cgroups are of version 2 here, and of version 1 there.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.controlplane import ControlPlane
from harness.errors import HarnessError
from harness.machine import HOST, SHARE, Machine, Process
from harness.mlx5 import Mlx5
from harness.wait import until
from node_disk import ARCHIVE, PLUGINS, SECCOMP
from node_in_vm import NAME, Cluster
from worker import kubelet, runtime
from worker.sight import Sight

ADDRESS: Final = "10.0.2.15"
_DISK: Final = "/run/node"
_RUN: Final = "/run/worker"
STATIC: Final = f"{_RUN}/pods"
"""The folder of the pods that a kubelet runs without being told by an API server."""
_CTR: Final = f"ctr --address {_RUN}/{runtime.SOCKET} --namespace k8s.io"
_PATIENCE: Final = 240
"""Seconds: on an idle machine a pod runs after eight, and on one with a load of seven after ninety."""
_PATH: Final = {"PATH": f"{_DISK}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_LAID_OUT: Final = f"""
set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
mkdir -p {_DISK} {STATIC}
mount -t ext4 -o ro /dev/vdb {_DISK}
cp -r {SHARE}/worker/. {_RUN}
# containerd gives each pod a copy of resolv.conf. And runc starts itself anew with an empty environment, in which no
# other way leads to a library that is not in the root image.
cp -a /etc /run/etc
mount --bind /run/etc /etc
: >/etc/resolv.conf
echo {_DISK}/{SECCOMP} >/etc/ld.so.preload
"""


@dataclass(frozen=True, slots=True)
class WholeNode:
    """The node, and what a person has of its cluster."""

    mlx5: Mlx5
    cluster: Cluster
    programs: tuple[Process, ...]

    def wait(self, what: str, *objects: str) -> None:
        """`kubectl wait --for=WHAT OBJECTS`.

        Raises:
            HarnessError: it was in vain; with the programs' last words.
        """
        try:
            self.cluster.kubectl("wait", f"--for={what}", *objects, f"--timeout={_PATIENCE}s", timeout=_PATIENCE + 10)
        except AssertionError as error:
            words = [f"--- {program.log.name}\n{_tail(program.log)}" for program in self.programs]
            raise HarnessError("\n".join((str(error), *words))) from error

    def counted(self, resource: str, count: int) -> None:
        """Wait until the Node has so many of a resource to give."""
        escaped = resource.replace(".", r"\.")
        self.wait(f"jsonpath={{.status.allocatable.{escaped}}}={count}", f"node/{NAME}")

    def run(self, pod: Any) -> Any:
        """`kubectl apply` a pod and wait until it runs; the object."""
        self.cluster.kubectl("apply", "-f", "-", manifest=pod)
        name = f"pod/{pod['metadata']['name']}"
        self.wait("condition=Ready", name)
        return self.get(name)

    def delete(self, *names: str) -> None:
        """`kubectl delete KIND/NAME ...`, and wait until they are gone."""
        self.cluster.kubectl("delete", *names, "--wait=false")
        self.wait("delete", *names)

    def get(self, name: str) -> Any:
        """`kubectl get KIND/NAME`."""
        return json.loads(self.cluster.kubectl("get", name, "-o", "json"))

    def sight(self, pod: Any, container: str) -> Sight:
        """What a container told of what it sees."""
        metadata = pod["metadata"]
        log = f"/var/log/pods/{metadata['namespace']}_{metadata['name']}_{metadata['uid']}/{container}/0.log"
        seen = until(lambda: Sight.of_log(self.mlx5.machine.run(f"cat {log}").stdout), bool, 30)
        assert seen is not None
        return seen


@contextlib.contextmanager
def whole_node(mlx5: Mlx5) -> Iterator[WholeNode]:
    """Start everything on a machine with the disk; the machine is of no further use afterwards."""
    with ControlPlane(reached=HOST) as plane:
        plane.install()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        plane.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        kubeconfig = plane.folder / "kubeconfig"
        kubeconfig.write_text(plane.kubeconfig())
        machine = mlx5.machine
        arguments = ["agent", "--kubeconfig", f"{_RUN}/kubeconfig", "--node-name", NAME, "--usage-interval", "1"]
        programs = (
            *start_kubelet(machine, plane),
            machine.spawn(module="subfunction_operator", args=arguments, name="agent"),
            machine.spawn(module="subfunction_deviceplugin", name="plugin"),
        )
        node = WholeNode(mlx5, Cluster(kubeconfig), programs)
        until(lambda: _registered(plane), bool, _PATIENCE)
        node.wait("condition=Ready", f"node/{NAME}")
        yield node


def start_kubelet(machine: Machine, plane: ControlPlane, name: str = NAME) -> tuple[Process, Process]:
    """Start containerd and the kubelet of a node called `name` on a machine with the disk.

    The kubelet also runs what stands in `STATIC`, whether or not there is an API server.
    """
    settings = machine.place.share / "worker"
    settings.mkdir()
    runtime.write_configuration(settings, Path(_RUN), Path(_DISK, PLUGINS))
    configuration = kubelet.configuration(f"unix://{_RUN}/{runtime.SOCKET}") | {"staticPodPath": STATIC}
    (settings / "kubelet.json").write_text(json.dumps(configuration))
    (settings / "kubeconfig").write_text(plane.kubeconfig(server=plane.url.replace("127.0.0.1", HOST)))
    machine.run(_LAID_OUT)
    containerd = machine.spawn(f"exec containerd -c {_RUN}/containerd.toml", name="containerd", env=_PATH)
    machine.run(f"until [ -S {_RUN}/{runtime.SOCKET} ]; do sleep 0.1; done", timeout=60)
    kubelet_line = (
        f"exec kubelet --config={_RUN}/kubelet.json --kubeconfig={_RUN}/kubeconfig "
        f"--hostname-override={name} --node-ip={ADDRESS}"
    )
    started = machine.spawn(kubelet_line, name="kubelet", env=_PATH)
    machine.run(f"{_CTR} images import --snapshotter native {_DISK}/{ARCHIVE}", env=_PATH, timeout=60)
    return containerd, started


def _registered(plane: ControlPlane) -> bool:
    return bool(plane.request("GET", "/api/v1/nodes")["items"])


def _tail(log: Path) -> str:
    return "\n".join(line[:300] for line in log.read_text(errors="replace").splitlines()[-15:])
