"""The Go command: the host's own, else Debian's, unpacked into the cache; nothing is installed.

Debian's is older than Kubernetes asks for. That does: from 1.21 on, Go fetches the release that a go.mod names from the
module proxy, and checks it against the checksum database.
"""

import os
import re
import subprocess
from pathlib import Path

from harness import cache
from harness.apt import BACKPORTS, Apt, mirror
from harness.errors import BuildFailed, HostLacks
from harness.host import find_tool, require_tool

OLDEST = (1, 21)
"""The oldest Go that fetches a newer one by itself."""
_HINT = "install Go 1.21 or newer (https://go.dev/dl), or name a folder of envtest's binaries: KUBEBUILDER_ASSETS"


def go() -> Path:
    """The Go command of this host, if it is new enough; else an unpacked one.

    Raises:
        HostLacks: there is neither a Go nor an apt to get one by.
        BuildFailed: the download failed.
    """
    found = find_tool("go")
    if found and _version(found) >= OLDEST:
        return Path(found)
    if find_tool("apt-get") is None or find_tool("dpkg-deb") is None:
        raise HostLacks(f"no Go on this host: {_HINT}")
    root = cache.entry("go-debian", cache.digest("1", BACKPORTS), _unpack, keep=1)
    return next(root.glob("usr/lib/go-*/bin/go"))


def environment() -> dict[str, str]:
    """What the Go command is to see: module and build caches of the project, so that it needs no home."""
    root = cache.cache_root() / "go"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO") or name in _KEPT}
    return kept | {
        "GOPATH": str(root),
        "GOMODCACHE": str(root / "modules"),
        "GOCACHE": str(root / "build"),
        "GOENV": "off",
        "GOTOOLCHAIN": "auto",
        # Else nobody could remove the cache: Go makes its folders read-only.
        "GOFLAGS": "-modcacherw -buildvcs=false",
        "GOWORK": "off",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
    }


_KEPT = frozenset({"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOMAXPROCS"})
"""Where a company's own proxy is; everything else of a developer's settings is left behind."""


def _version(command: str) -> tuple[int, ...]:
    # GOTOOLCHAIN=local: asked in a folder with a go.mod, it would fetch another Go only to tell its version.
    told = subprocess.run(
        [command, "env", "GOVERSION"],
        env=os.environ | {"GOTOOLCHAIN": "local"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.match(r"go(\d+)\.(\d+)", told.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _unpack(into: Path, _: Path) -> None:
    apt = Apt.at(into / ".apt", mirror())
    apt.update()
    compiler = apt.stands_for("golang-go", r"golang-[0-9.]+-go")
    apt.download(f"{compiler}/{BACKPORTS}", f"{compiler.removesuffix('-go')}-src/{BACKPORTS}")
    dpkg = require_tool("dpkg-deb")
    for archive in sorted(apt.archives.glob("*.deb")):
        done = subprocess.run([dpkg, "-x", str(archive), str(into)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildFailed(f"{archive.name} could not be unpacked: {done.stderr.strip()[-400:]}")
    apt.remove()
