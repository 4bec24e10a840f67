"""The programs of one release of Kubernetes: envtest's where a folder of them is named, else built from a Go module.

Those that only some tests need are built apart, by who asks first.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components import toolchain
from harness import cache
from harness.errors import BuildFailed, HostLacks

MODULE = Path(__file__).parents[1] / "go"
"""The Go module that names them and everything they are made of."""
ASSETS = "KUBEBUILDER_ASSETS"
"""Where controller-runtime's envtest looks, so that who has its binaries needs no Go."""
_NODE = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
_CONTROLLERS = {
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
}
_SECONDS_TO_BUILD = 3600


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with the programs of one release of Kubernetes."""

    folder: Path
    version: str
    """As `v1.36.4`; empty where somebody else built them."""

    @property
    def etcd(self) -> Path:
        """The store."""
        return self.folder / "etcd"

    @property
    def apiserver(self) -> Path:
        """The API server."""
        return self.folder / "kube-apiserver"

    @property
    def kubelet(self) -> Path:
        """The kubelet; envtest has none."""
        return self.folder / "kubelet"

    @property
    def controller_manager(self) -> Path:
        """What turns DaemonSets into pods, collects garbage, ends namespaces; of `controllers` alone."""
        return self.folder / "kube-controller-manager"

    @property
    def scheduler(self) -> Path:
        """What binds pods to nodes; of `controllers` alone."""
        return self.folder / "kube-scheduler"


def control_plane() -> Binaries:
    """etcd and kube-apiserver, from `$KUBEBUILDER_ASSETS` if that is set, else built.

    Raises:
        HostLacks: the folder named lacks one of them; or there is no Go, and no way to get one.
        BuildFailed: the build failed.
    """
    named = os.environ.get(ASSETS)
    if not named:
        return build()
    found = Binaries(Path(named), "")
    if missing := _missing(found.etcd, found.apiserver):
        raise HostLacks(f"{ASSETS}={named} has no {missing}; unset it to have them built")
    return found


def controllers() -> Binaries:
    """kube-controller-manager and kube-scheduler, from `$KUBEBUILDER_ASSETS` if they are there, else built.

    They are not among envtest's.

    Raises:
        HostLacks: there is no Go, and no way to get one.
        BuildFailed: the build failed.
    """
    named = Binaries(Path(os.environ.get(ASSETS) or "/nonexistent"), "")
    if not _missing(named.controller_manager, named.scheduler):
        return named
    return _built("controllers", _CONTROLLERS)


def build() -> Binaries:
    """etcd, kube-apiserver and kubelet, from the cache or built (some minutes, and 4 GB of Go's own caches).

    Raises:
        HostLacks: there is no Go, and no way to get one.
        BuildFailed: the build failed.
    """
    return _built("kubernetes", _NODE)


def _built(shelf: str, packages: Mapping[str, str]) -> Binaries:
    files = [MODULE / "go.mod", MODULE / "go.sum"]
    release = version()
    flags = _linker_flags(release)
    key = f"{release}-{cache.digest(flags, *sorted(packages), *(file.read_bytes() for file in files))}"
    return Binaries(cache.entry(shelf, key, lambda into, _: _compile(into, packages, flags), keep=2), release)


def _missing(*programs: Path) -> str:
    return " and no ".join(path.name for path in programs if not os.access(path, os.X_OK))


def version() -> str:
    """The release of Kubernetes that the Go module asks for."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return found[1]


def _linker_flags(release: str) -> str:
    # Without a version kubectl cannot parse the server's, and the kubelet names itself v0.0.0-master.
    major, minor, *_ = release.removeprefix("v").split(".")
    told = {"gitVersion": release, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    variables = (f"-X {package}.{name}={value}" for package in packages for name, value in told.items())
    return " ".join(("-s -w", *variables))


def _compile(into: Path, packages: Mapping[str, str], flags: str) -> None:
    command = toolchain.go()
    # Several packages and a folder: each program gets the name of its package's last part, etcd's that of its module.
    built = subprocess.run(
        [command, "build", "-trimpath", "-mod=readonly", "-ldflags", flags, "-o", f"{into}/", *packages.values()],
        cwd=MODULE, env=toolchain.environment(), capture_output=True, text=True, timeout=_SECONDS_TO_BUILD, check=False,
    )  # fmt: skip
    if built.returncode != 0:
        raise BuildFailed(f"go build of {' '.join(packages.values())} failed:\n{built.stderr.strip()[-2000:]}")
    made = into / "server"
    if made.exists():
        made.rename(into / "etcd")
    missing = [name for name in packages if not (into / name).is_file()]
    if missing:
        raise BuildFailed(f"go build made no {' and no '.join(missing)}, but {[path.name for path in into.iterdir()]}")
