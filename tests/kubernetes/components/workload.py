"""A workload of the chart (DaemonSet, Deployment) with its one container, from Helm or as the API server has it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rig.confinement import Mount


@dataclass(frozen=True, slots=True)
class Workload:
    """What surrounds the process of its container."""

    made: Any

    @property
    def name(self) -> str:
        """Which program it is: `agent`, `device-plugin` ..."""
        return str(self.made["metadata"]["name"].removeprefix("subfunction-"))

    @property
    def pod(self) -> Any:
        """What its pods are made of: metadata and spec."""
        return self.made["spec"]["template"]

    @property
    def account(self) -> str:
        """The service account of its pods; empty where they speak to no API server."""
        return str(self.pod["spec"].get("serviceAccountName", ""))

    @property
    def command(self) -> list[str]:
        """The program and its arguments."""
        return list(self.container["command"])

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Those that it has, all others being dropped: `net_admin`."""
        return tuple(each.lower() for each in self.container["securityContext"]["capabilities"].get("add", ()))

    @property
    def port(self) -> int:
        """The port of its probes."""
        return int(self.container["ports"][0]["containerPort"])

    @property
    def container(self) -> Any:
        """The one that it has."""
        [container] = self.pod["spec"]["containers"]
        return container

    def environment(self, node: str) -> dict[str, str]:
        """The environment of the process; what is taken from the pod is its node."""
        return {each["name"]: each.get("value", node) for each in self.container["env"]}

    def mounts(self, folder: Callable[[Any], Path]) -> Iterator[Mount]:
        """What is mounted into the container; `folder` says where a volume of the pod is on the node."""
        volumes = {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}
        for mount in self.container["volumeMounts"]:
            mode = "ro" if mount.get("readOnly") else "rw"
            yield Mount(folder(volumes[mount["name"]]), Path(mount["mountPath"]), mode)
