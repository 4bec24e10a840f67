"""A node whose kubelet the tests meet: the real one or the stand-in, at an API server."""

from pathlib import Path
from typing import Any, Protocol

from subfunction_simulator.apiserver.client import Client
from worker.sight import Sight

NODE = "worker-1"


class Worker(Protocol):
    """One node. A pod is the object as the API server gives it."""

    root: Path
    """The kubelet's folder, as /var/lib/kubelet."""
    api: Client
    kubeconfig: Path

    async def start_kubelet(self) -> None:
        """Start it; it may not be ready yet."""

    async def stop_kubelet(self) -> None:
        """End it, as an upgrade does: containers run on."""

    async def kill_container(self, pod: Any, container: str) -> None:
        """Let a container's process end by a signal."""

    def sight(self, pod: Any, container: str, start: int) -> Sight | None:
        """Give what a container saw at a start of it (0 is the first); None if that is not known yet."""
