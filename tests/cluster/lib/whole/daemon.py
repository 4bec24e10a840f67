"""A DaemonSet's pod on a node: an object to bind a token to, and a process that is confined as the chart says.

The kubelet of the node sees the pod too, and waits for the ConfigMap `kube-root-ca.crt`, which nobody publishes here:
it starts nothing of it. A pod without an account needs no object.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import accounts
from components.controlplane import ControlPlane
from components.helm import NAMESPACE
from components.workload import Workload
from harness.errors import HarnessError
from harness.machine import HOST, SHARE, Machine, Process
from node_in_vm import CONFINING
from whole import objects

PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
_MODULES: Final = {
    "subfunction-operator": "subfunction_operator",
    "subfunction-device-plugin": "subfunction_deviceplugin",
}
_SIGTERM, _SIGKILL = 15, 9


@dataclass(frozen=True, slots=True)
class Daemon:
    """One that was started."""

    workload: Workload
    process: Process

    def require(self) -> None:
        """Make sure that it still runs: none of our programs ends by itself.

        Raises:
            HarnessError: it ended; with its last words, and the kernel's, which may have had no memory left for it.
        """
        if not self.process.alive():
            words = "\n".join(self.process.log.read_text(errors="replace").splitlines()[-15:])
            kernel = self.process.machine.run("dmesg | tail -8; free -m").stdout
            raise HarnessError(f"{self.workload.name} ended by itself\n{words}\nThe kernel:\n{kernel}")

    def end(self) -> None:
        """What a kubelet does: SIGTERM, and SIGKILL after the pod's grace."""
        self.process.signal(_SIGTERM)
        try:
            self.process.wait(self.workload.pod["spec"]["terminationGracePeriodSeconds"])
        except HarnessError:
            self.process.signal(_SIGKILL)
            self.process.wait()


def started(plane: ControlPlane, machine: Machine, node: str, workload: Workload, log: str) -> Daemon:
    """Start it, with a token for the pod that the node has, or gets now; `log` names what it writes to."""
    environment = workload.environment(node) | {"PYTHONPATH": CONFINING}
    if workload.account:
        environment |= _reached(plane)
        _mount_token(plane, machine, _pod(plane, workload, node), workload.name)

    def folder(volume: Mapping[str, Any]) -> Path:
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        return Path(SHARE, workload.name) if "projected" in volume else Path("/run/empty-dirs", workload.name)

    mounts = [(str(each.host), str(each.place), each.mode) for each in workload.mounts(folder)]
    confinement = json.dumps({"mounts": mounts, "keeps": workload.capabilities})
    program, *words = workload.command
    arguments = [confinement, _MODULES[program], *words]
    return Daemon(workload, machine.spawn(module="confined", args=arguments, name=log, env=environment))


def delete_pods(plane: ControlPlane, node: str, component: str = "") -> None:
    """Delete the pods that a node has of the chart, or of one DaemonSet."""
    for pod in _pods(plane, node):
        if component in ("", pod["metadata"]["labels"]["app.kubernetes.io/component"]):
            # Without grace: of its processes the kubelet knows nothing.
            objects.delete(plane, f"{PODS}/{pod['metadata']['name']}", at_once=True)


def _pod(plane: ControlPlane, workload: Workload, node: str) -> Any:
    """The pod that a node has of a DaemonSet: after a reboot it is the one from before."""
    labels = workload.pod["metadata"]["labels"]
    found = [pod for pod in _pods(plane, node) if labels.items() <= pod["metadata"]["labels"].items()]
    if found:
        return found[0]
    about = workload.made["metadata"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "controller": True,
        "name": about["name"],
        "uid": about["uid"],
    }
    metadata = {"generateName": f"{about['name']}-", "labels": labels, "ownerReferences": [owner]}
    return plane.request("POST", PODS, {"metadata": metadata, "spec": workload.pod["spec"] | {"nodeName": node}})


def _pods(plane: ControlPlane, node: str) -> list[Any]:
    return list(plane.request("GET", f"{PODS}?fieldSelector=spec.nodeName={node}")["items"])


def _mount_token(plane: ControlPlane, machine: Machine, pod: Any, name: str) -> None:
    folder = machine.place.share / name
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(accounts.token_of(plane, pod))
    (folder / "ca.crt").write_bytes(plane.authority.read_bytes())
    (folder / "namespace").write_text(NAMESPACE)


def _reached(plane: ControlPlane) -> dict[str, str]:
    return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": plane.url.rpartition(":")[2]}
