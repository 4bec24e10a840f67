"""What containerd makes of a CDI file: its own library, in the versions that its releases are built with."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from components import toolchain
from harness import cache

MODULE: Final = Path(__file__).parent / "go"
LIBRARIES: Final = {
    "containerd-1.7": "containerd-1.7.mod",  # the library's 0.8.1
    "containerd-2.0": "containerd-2.0.mod",  # 1.0.1, up to containerd 2.2.0
    "containerd-2.3": "go.mod",  # 1.1.0, from containerd 2.2.7 on, and CRI-O 1.35
}
"""The go.mod of each: the library and the OCI specification as in that containerd's own go.mod."""
NEWEST: Final = "containerd-2.3"
_SECONDS_TO_BUILD: Final = 600


class File(msgspec.Struct, frozen=True):
    """A CDI file that the library took in: the version it claims, and the lowest that would do by the library."""

    path: str
    version: str
    minimum: str


class Checked(msgspec.Struct, frozen=True):
    """What came of a folder: what is refused of it by path, which devices there are, the container with those asked."""

    errors: dict[str, list[str]]
    devices: list[str]
    files: list[File]
    refused: str
    unresolved: list[str]
    spec: dict[str, Any]

    @property
    def nodes(self) -> list[tuple[str, str, int, int]]:
        """The container's device nodes: path, type, major, minor."""
        found = self.spec["linux"].get("devices", [])
        return [(each["path"], each["type"], each["major"], each.get("minor", 0)) for each in found]

    @property
    def allowed(self) -> set[tuple[int, int, str]]:
        """What its device cgroup lets it have: major, minor, access."""
        rules = self.spec["linux"]["resources"].get("devices", [])
        return {(each["major"], each["minor"], each["access"]) for each in rules if each["allow"]}


Check = Callable[..., Checked]


@pytest.fixture(scope="session")
def programs() -> Path:
    """Build the check with each of the libraries, unless the cache has them."""
    sources = sorted(path for path in MODULE.iterdir() if path.suffix in {".go", ".mod", ".sum"})
    return cache.entry("cdicheck", cache.digest_files(sources), _build)


def _build(into: Path, _: Path) -> None:
    command, environment = str(toolchain.go()), toolchain.environment()
    for name, modules in LIBRARIES.items():
        built = subprocess.run(
            [command, "build", "-trimpath", "-mod=readonly", f"-modfile={modules}", "-o", str(into / name), "."],
            cwd=MODULE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_BUILD,
            check=False,
        )
        assert built.returncode == 0, built.stderr


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """Name one library after the other."""
    return str(request.param)


@pytest.fixture
def check(programs: Path) -> Check:
    """Load a folder as one of the libraries does, and put devices of it into a container."""

    def checked(library: str, folder: Path, *names: str) -> Checked:
        command = [str(programs / library), str(folder), *names]
        run = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return msgspec.json.decode(run.stdout, type=Checked)

    return checked
