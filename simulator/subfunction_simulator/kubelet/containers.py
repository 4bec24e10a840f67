"""On a node where nothing runs, a container that runs is a file that says what it sees.

`<root>/pods/<namespace>_<name>/<container>.json`; to remove the file is to crash the container.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subfunction_simulator.kubelet import podstatus
from subfunction_simulator.kubelet.pods import Pod, Running


class Containers:
    """The container runtime of a node goes on while its kubelet is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, pod: Pod) -> Path:
        """Give the folder of a pod."""
        return self.folder / f"{pod.namespace}_{pod.name}"

    def start(self, pod: Pod, container: str, given: Running, restarts: int) -> None:
        """Let a container run, after so many restarts."""
        told = {"pod": pod.uid, "restarts": restarts, **podstatus.content(given)}
        path = self.of(pod) / f"{container}.json"
        draft = path.with_name(f".{container}")
        draft.write_text(f"{json.dumps(told, indent=1)}\n", encoding="utf-8")
        draft.rename(path)

    def running(self, pod: Pod) -> dict[str, int]:
        """Give the containers of a pod that run, with how often each was restarted; those that have ended do not."""
        found: dict[str, int] = {}
        for container in pod.containers:
            told = self._read(self.of(pod) / f"{container.name}.json")
            if told.get("pod") == pod.uid:
                found[container.name] = told["restarts"]
        return found

    def end(self, pod: Pod) -> None:
        """End all containers of a pod."""
        shutil.rmtree(self.of(pod), ignore_errors=True)

    @staticmethod
    def _read(path: Path) -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told
