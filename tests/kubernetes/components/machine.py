"""A node's file system below a folder, and the chart's containers on it: processes, confined as their pods say.

Only the container runtime, the image and the pods' networks are missing.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from components.controlplane import ControlPlane
from rig.confinement import Confinement, Mount

KUBELET_ROOT: Final = "/var/lib/kubelet"
_SECONDS_TO_END: Final = 20


class Machine:
    """One node's; `root` is a folder of a short name, for the names of sockets are bounded."""

    def __init__(self, root: Path, plane: ControlPlane, node: str) -> None:
        self.root = root
        self.plane = plane
        self.node = node
        self.running: dict[str, subprocess.Popen[str]] = {}

    def path(self, host: str) -> Path:
        """Where the node has a path of its own."""
        if host.startswith(KUBELET_ROOT):
            return self.root / "k" / host.removeprefix(KUBELET_ROOT).lstrip("/")
        return self.root / "h" / host.lstrip("/")

    def start(self, name: str, spec: Any, projected: Mapping[str, bytes]) -> subprocess.Popen[str]:
        """Start the one container of a pod; `projected` are the files of its token's volume."""
        [container] = spec["containers"]
        context = container["securityContext"]
        assert context["capabilities"]["drop"] == ["ALL"]
        confinement = Confinement(
            reads=(),
            writes=(),
            others=tuple(self._mounts(name, spec, container, projected)),
            keeps=tuple(each.lower() for each in context["capabilities"].get("add", ())),
            # In a cluster it may have a network of its own; this host's is the only way to the API server here.
            host_network=bool(projected),
        )
        # An empty value is none to the API server; what has a source has the node's name from it.
        given = container.get("env", ())
        variables = {each["name"]: self.node if "valueFrom" in each else each.get("value", "") for each in given}
        host, port = self.plane.url.removeprefix("https://").split(":")
        variables |= {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        program, *words = container["command"]
        command = confinement.command(str(Path(sys.executable).with_name(program)), *words)
        # It ends with us, however that happens.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        with (self.root / f"{name}.log").open("a") as log:
            environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"} | variables
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)
        self.running[name] = process
        return process

    def stop(self, name: str) -> None:
        """End a container as a kubelet does, if it runs."""
        if (process := self.running.pop(name, None)) is not None:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self) -> None:
        """Pull its plug."""
        while self.running:
            _, process = self.running.popitem()
            process.kill()
            process.wait()

    def lives(self) -> bool:
        """Make sure that all still run; false, so that it can be asked beside something else."""
        for name, process in self.running.items():
            assert process.poll() is None, self.said(name)
        return False

    def said(self, name: str) -> str:
        """The end of a container's log."""
        return (self.root / f"{name}.log").read_text()[-3000:]

    def _mounts(self, name: str, spec: Any, container: Any, projected: Mapping[str, bytes]) -> Iterator[Mount]:
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            kind = volume.get("hostPath")
            folder = self.path(kind["path"]) if kind else self.root / name / mount["name"]
            folder.mkdir(parents=True, exist_ok=True)
            if "projected" in volume:
                for file, content in projected.items():
                    (folder / file).write_bytes(content)
            yield Mount(folder, Path(mount["mountPath"]), "ro" if mount.get("readOnly") else "rw")
