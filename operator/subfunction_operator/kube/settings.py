"""The settings of each program that is a client of the API server: the agent and the controller."""

import dataclasses
from pathlib import Path
from typing import Final

from subfunction.process.settings import ProgramSettings

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientSettings(ProgramSettings):
    """The way to the API server, and the interval of the resync."""

    kubeconfig: Path | None = None
    """A kubeconfig, with any log-in that kubectl knows; without it the pod's own token and the cluster's address."""

    service_account: Path = SERVICE_ACCOUNT
    """The folder in which a pod finds its token, the cluster's authority and the name of its namespace."""

    resync: float = 300.0
    """Seconds between two resyncs of everything; changes are announced, and reconciled as they are."""
