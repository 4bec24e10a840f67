"""The image, built by Debian's buildah: without a daemon, and without a registry, for whose base image Debian stands.

PYTHONPATH=tests/vm:tests/kubernetes python -m tests.image.build
"""

import json
import os
import ssl
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness import cache, host
from harness.apt import SUITE, mirror
from harness.errors import BuildFailed
from harness.host import require_tool

CHECKOUT: Final = Path(__file__).parents[2]
NAME: Final = "localhost/subfunction"
TOOLS: Final = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_BASE: Final = "localhost/subfunction-base"
_INCLUDED: Final = "python3,python3-venv"
_LEFT_OUT: Final = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_SECONDS: Final = 900


@dataclass(frozen=True, slots=True)
class Built:
    """An image in the store, and a container of it whose root file system can be looked into."""

    store: "Store"
    name: str
    container: str
    root: Path

    def configuration(self) -> dict[str, Any]:
        """Its configuration, as the OCI image specification has it."""
        shown = json.loads(self.store.run("inspect", "--type", "image", self.name))
        found: dict[str, Any] = shown["OCIv1"]
        return found

    def archive(self, path: Path) -> Path:
        """Write it as an OCI archive, compressed as a registry would have it."""
        self.store.run("push", "--quiet", self.name, f"oci-archive:{path}")
        return path

    def remove(self) -> None:
        """Remove the container; the image stays in the store, unless it is only a stage."""
        self.store.run("rm", self.container)
        if self.name != NAME:
            self.store.run("rmi", self.name)


@dataclass(frozen=True, slots=True)
class Store:
    """buildah with images of its own: those of the system are neither read nor changed."""

    folder: Path

    def run(self, *words: str) -> str:
        """Run buildah; what it prints.

        Raises:
            BuildFailed: it failed.
        """
        places = ["--root", str(self.folder / "images"), "--runroot", str(self.folder / "run")]
        command = [require_tool("buildah"), *places, "--storage-driver", "vfs", *words]
        environment = os.environ | {"BUILDAH_ISOLATION": "chroot"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=CHECKOUT
        )
        if done.returncode != 0:
            raise BuildFailed(f"buildah {words[0]}: {(done.stdout + done.stderr).strip()[-3000:]}")
        return done.stdout

    def has(self, name: str) -> bool:
        """Whether it has an image of this name."""
        return bool(self.run("images", "--quiet", "--filter", f"reference={name}").strip())


def build() -> Built:
    """Build the image from this checkout, for this machine's architecture.

    `PYTHON_IMAGE`, where a registry can be reached, names another base.

    Raises:
        HostLacks: a tool is missing and cannot be installed here.
        BuildFailed: a download or a step failed; the message has its last words.
    """
    with cache.exclusive("lock-image"):
        store = _store()
        _remove_left_behind(store)
        _bud(store, "--tag", NAME)
        store.run("rmi", "--prune")
        return _opened(store, NAME)


def build_stage(architecture: str) -> Built:
    """Build no more than the first stage, as for another architecture (`arm64`); raises as `build`."""
    name = f"{NAME}-{architecture}"
    with cache.exclusive("lock-image"):
        store = _store()
        _bud(store, "--target", "build", "--build-arg", f"TARGETARCH={architecture}", "--tag", name)
        return _opened(store, name)


def _store() -> Store:
    host.install(TOOLS)
    store = Store(cache.cache_root() / "images")
    store.folder.mkdir(exist_ok=True)
    return store


def _bud(store: Store, *words: str) -> None:
    base = os.environ.get("PYTHON_IMAGE") or _debian(store)
    given = {"PYTHON_IMAGE": base, "VERSION": version(), "REVISION": revision()}
    arguments = [part for name, value in given.items() for part in ("--build-arg", f"{name}={value}")]
    authorities = ssl.get_default_verify_paths().cafile
    secrets = ["--secret", f"id=ca,src={authorities}"] if authorities else []
    store.run("bud", *secrets, *arguments, *words, str(CHECKOUT))


def _remove_left_behind(store: Store) -> None:
    """Remove the containers of runs that were killed: an image that one of them has cannot be pruned."""
    for container in store.run("containers", "--noheading", "--format", "{{.ContainerName}}").split():
        _, _, pid = container.rpartition("-of-")
        if not (pid.isdecimal() and Path("/proc", pid).exists()):
            store.run("rm", container)


def _opened(store: Store, name: str) -> Built:
    # Its name says which process has it.
    container = store.run("from", "--name", f"{name.rpartition('/')[2]}-of-{os.getpid()}", name).strip()
    return Built(store, name, container, Path(store.run("mount", container).strip()))


def version() -> str:
    """The project's version."""
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def revision() -> str:
    """The commit that is checked out."""
    command = [require_tool("git"), "-C", str(CHECKOUT), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def _debian(store: Store) -> str:
    """Debian with its Python, as slim as Docker's: made once."""
    if store.has(_BASE):
        return _BASE
    source = mirror()
    signed = f"[signed-by={source.signed_by}] " if source.signed_by else ""
    tar = store.folder / "base.tar"
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    line = f"deb {signed}{source.uri} {SUITE} main"
    command = [require_tool("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={_INCLUDED}", *options]
    made = subprocess.run(
        [*command, SUITE, str(tar), line], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if made.returncode != 0:
        raise BuildFailed(f"mmdebstrap: {made.stderr.strip()[-2000:]}")
    (store.folder / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    store.run("bud", "--tag", _BASE, str(store.folder))
    tar.unlink()
    return _BASE


if __name__ == "__main__":
    began = time.monotonic()
    image = build()
    image.remove()
    sys.stdout.write(f"{NAME} in {time.monotonic() - began:.0f} s\n")
