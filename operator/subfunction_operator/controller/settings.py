"""The controller's settings: one name in four spellings (flag, environment, Helm value, docs)."""

import dataclasses
from typing import Literal

from subfunction_operator.kube.settings import ClientSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControllerSettings(ClientSettings):
    """The controller of one cluster."""

    lease_namespace: str = ""
    """The namespace of the Lease; empty: the pod's own, or `default` outside of one."""

    lease_name: str = "subfunction-controller"
    """The Lease that one controller holds at a time."""

    identity: str = ""
    """This controller's name in the Lease; empty: the host's name and some random letters."""

    lease_duration: float = 15.0
    """Seconds without a renewal after which another controller takes over."""

    renew_deadline: float = 10.0
    """Seconds without a renewal after which this controller ends; less than the Lease's duration."""

    lease_retry: float = 2.0
    """Seconds between two renewals, or two tries to take the Lease."""

    placement: Literal["spread", "packed"] = "spread"
    """Which node a SubFunction without one gets, of those that fit: the least used, or the fullest (`packed`)."""

    gone_grace: float = 60.0
    """Seconds that a Node must be gone before its SubFunctions are removed: a Node may be registered anew."""

    workers: int = 16
    """Writes that are under way at once, at most."""

    status_interval: float = 1.0
    """Seconds between two writes of one pool's status, at least."""
