"""What the chart gives its programs: command, environment, user and mounts, for a node whose folders are elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.helm import Helm

SIMULATED: Final = Path("/run/subfunction/simulated")
"""Where the chart has the simulated kernel; not a value."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One container as its pod has it; `scratch` are empty folders in memory."""

    command: tuple[str, ...]
    environment: tuple[str, ...]
    user: int
    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    scratch: tuple[Path, ...]


def manifests(home: Path, values: Mapping[str, Path | str], kernel: Path) -> dict[str, Manifest]:
    """Render the chart for a simulated kernel that lives in `kernel`; by the component's name.

    `home` is Helm's. A folder that the kubelet would make is made, and one that it would miss is missed here.
    """
    words = [f"{name}={value}" for name, value in {"kernel": "simulated", **values}.items()]
    found = {}
    for made in Helm(home).rendered(*(part for word in words for part in ("--set", word))):
        if made["kind"] in {"DaemonSet", "Deployment"}:
            pod = made["spec"]["template"]["spec"]
            [container] = pod["containers"]
            found[container["name"]] = _read(pod, container, {SIMULATED: kernel})
    return found


def _read(pod: Any, container: Any, moved: Mapping[Path, Path]) -> Manifest:
    context = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert context["readOnlyRootFilesystem"]
    mounts = list(_mounts(pod, container, moved))
    return Manifest(
        command=tuple(container["command"]),
        environment=tuple(f"{each['name']}={each['value']}" for each in container["env"] if "value" in each),
        user=context["runAsUser"],
        reads=_of("ro", mounts),
        writes=_of("rw", mounts),
        scratch=_of("scratch", mounts),
    )


def _of(mode: str, mounts: Sequence[tuple[str, Path]]) -> tuple[Path, ...]:
    return tuple(path for kind, path in mounts if kind == mode)


def _mounts(pod: Any, container: Any, moved: Mapping[Path, Path]) -> Iterator[tuple[str, Path]]:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume, place = volumes[mount["name"]], Path(mount["mountPath"])
        if "emptyDir" in volume:
            yield "scratch", place
        if "hostPath" not in volume:
            continue  # a token: there is nobody here who would make one
        assert place == Path(volume["hostPath"]["path"]), "a folder of the node is where the node has it"
        path = moved.get(place, place)
        if volume["hostPath"]["type"] == "DirectoryOrCreate":
            path.mkdir(parents=True, exist_ok=True)
        assert path.is_dir(), f"the kubelet would not start a pod without {path}"
        yield ("ro" if mount.get("readOnly") else "rw"), path
