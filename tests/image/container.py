"""Containers of the image, as runc starts them for a kubelet: read-only root, no capability, only the folders named."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.image.build import Built

from worker import runtime

NOBODY: Final = 65532
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Containers:
    """Of one image; `folder` keeps runc's state and the bundles."""

    image: Built
    folder: Path

    def run(self, *command: str, user: int = NOBODY, writes: Sequence[Path] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, without a network."""
        line = self.line("once", command, user=user, writes=writes)
        try:
            return subprocess.run(line, capture_output=True, text=True, timeout=_SECONDS, check=False)
        finally:
            self.remove("once")

    def line(
        self,
        name: str,
        command: Sequence[str],
        *,
        user: int = 0,
        writes: Sequence[Path] = (),
        reads: Sequence[Path] = (),
        scratch: Sequence[Path] = (),
        network: bool = False,
        environment: Sequence[str] = (),
        working: str = "/",
    ) -> list[str]:
        """Give the line that runs a container in the foreground.

        `scratch` are empty folders in memory; `network`: the host's, else one of its own.
        """
        bundle = self.folder / name
        bundle.mkdir()
        subprocess.run([*self._runc(), "spec", "--bundle", str(bundle)], check=True, timeout=_SECONDS)
        path = bundle / "config.json"
        spec = json.loads(path.read_text())
        process, linux = spec["process"], spec["linux"]
        configured = self.image.configuration()["config"]["Env"]
        process.update(
            terminal=False, args=list(command), env=[*configured, *environment], cwd=working,
            user={"uid": user, "gid": user}, noNewPrivileges=True, capabilities={}, rlimits=[],
        )  # fmt: skip
        spec["root"] = {"path": str(self.image.root), "readonly": True}
        # First, since the tests' own folders are below /tmp.
        spec["mounts"] += [{"destination": str(each), "type": "tmpfs", "source": "tmpfs"} for each in scratch]
        spec["mounts"] += [_bind(each, "rw") for each in writes] + [_bind(each, "ro") for each in reads]
        linux.pop("resources", None)
        if network:
            linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"]
        path.write_text(json.dumps(spec))
        return [*self._runc(), "run", "--bundle", str(bundle), name]

    def remove(self, name: str) -> None:
        """End a container, if it still runs, and remove what runc keeps of it."""
        subprocess.run([*self._runc(), "delete", "--force", name], check=True, capture_output=True, timeout=_SECONDS)
        subprocess.run(["rm", "-r", str(self.folder / name)], check=True, timeout=_SECONDS)

    def remove_all(self) -> None:
        """Remove every one that is left."""
        for bundle in self.folder.glob("*/config.json"):
            self.remove(bundle.parent.name)

    def _runc(self) -> list[str]:
        return [str(runtime.packages() / "usr" / "sbin" / "runc"), "--root", str(self.folder / "runc")]


def _bind(path: Path, mode: str) -> dict[str, Any]:
    return {"destination": str(path), "type": "bind", "source": str(path), "options": ["rbind", mode]}
