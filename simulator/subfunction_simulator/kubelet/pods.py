"""The kubelet knows of a pod its containers and what they ask for."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Self


@dataclasses.dataclass(frozen=True, slots=True)
class Container:
    """A container with `init` runs before the others, and a `restartable` one (a sidecar) keeps its devices."""

    name: str
    limits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    image: str = ""
    init: bool = False
    restartable: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """A pod is bound to this node; init containers stand first."""

    uid: str
    namespace: str
    name: str
    containers: tuple[Container, ...]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """Read a pod as the API server gives it; only whole numbers of extended resources are devices."""
        metadata, spec = manifest["metadata"], manifest["spec"]
        return cls(
            uid=metadata["uid"],
            namespace=metadata["namespace"],
            name=metadata["name"],
            containers=(
                *(_container(each, init=True) for each in spec.get("initContainers", ())),
                *(_container(each, init=False) for each in spec.get("containers", ())),
            ),
        )

    def container(self, name: str) -> Container:
        """Find a container by name."""
        return next(each for each in self.containers if each.name == name)

    def wants(self) -> Counter[str]:
        """Count what a pod needs at once, as a scheduler does: init containers come first and give their devices on."""
        steady, peak = Counter[str](), Counter[str]()
        for container in self.containers:
            if container.init and not container.restartable:
                peak |= Counter(container.limits)
            else:
                steady.update(container.limits)
        return steady | peak


@dataclasses.dataclass(frozen=True, slots=True)
class Rejected:
    """Admission failed: the pod is Failed for good, with this reason and message."""

    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class DeviceNode:
    """A container sees a device node; `numbers` is `major:minor`, None if no character device stands there."""

    path: str
    host_path: str
    permissions: str
    exists: bool
    numbers: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """A started container was given these things, all its resources merged."""

    env: Mapping[str, str]
    devices: tuple[DeviceNode, ...]
    mounts: tuple[tuple[str, str, bool], ...]
    """Path in the container, path on the host, read-only."""
    cdi: tuple[str, ...]


def _container(manifest: Mapping[str, Any], *, init: bool) -> Container:
    limits = dict(_whole(manifest.get("resources", {}).get("limits", {})))
    return Container(
        name=manifest["name"],
        limits=limits,
        env={each["name"]: each["value"] for each in manifest.get("env", ()) if "value" in each},
        image=manifest.get("image", ""),
        init=init,
        restartable=init and manifest.get("restartPolicy") == "Always",
    )


def _whole(limits: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for resource, quantity in limits.items():
        if "/" in resource and str(quantity).isdecimal():
            yield resource, int(quantity)
