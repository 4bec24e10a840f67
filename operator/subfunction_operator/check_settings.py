"""What can be set of `subfunction-operator check`. Apart from it, so that `--help` does not wait for the client."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What is looked at, and for how long."""

    namespace: str
    """Where the programs were installed."""

    controller: bool = True
    """Whether there is a controller, too."""

    wait: float = 0.0
    """Seconds within which all must be well; a fresh installation takes a moment."""

    kubeconfig: Path | None = None
    """A kubeconfig; without it the pod's own token and the cluster's address are used."""
