"""What can be set of each program that lives by the API server: the agent and the controller."""

import dataclasses
from pathlib import Path

from subfunction.programsettings import ProgramSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientSettings(ProgramSettings):
    """How the API server is reached, and how often all is looked at anew."""

    kubeconfig: Path | None = None
    """A kubeconfig, for development; without it the pod's own token and the cluster's address are used."""

    resync: float = 300.0
    """Seconds between two looks at everything there is; what happens is announced, and looked at when it does."""
