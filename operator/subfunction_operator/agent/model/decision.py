"""The planner's result: steps to apply, a wait, nothing to do, or a request to ask the kubelet first.

A plan's steps end where the kernel must be observed again: it chose something (a port's index), or needs time.
"""

import dataclasses
from typing import TypeAlias

from subfunction.api.reasons import Reason
from subfunction.errors import SubFunctionError
from subfunction_operator.agent.model.observation import Observation, RetryState
from subfunction_operator.agent.model.steps import Step


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """Apply these in order, then observe and plan again; with `last` all is settled after them."""

    steps: tuple[Step, ...]
    last: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the kernel finishes (`kernel`), or until something else happens, such as the end of a pod."""

    reason: Reason
    message: str
    kernel: bool
    hint: str = ""
    """What a person can do if the wait does not end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to do; `pending` names what is not as asked while a pod has the device, `reason` is Ready's for that."""

    pending: str = ""
    reason: Reason = Reason.CHANGE_PENDING


@dataclasses.dataclass(frozen=True, slots=True)
class RefreshUsage:
    """Observe again and ask the kubelet: the next step depends on whether a pod has the device now."""


Decision: TypeAlias = Steps | Wait | Settled | RefreshUsage


@dataclasses.dataclass(frozen=True, slots=True)
class ReconcileResult:
    """How a reconciliation ended (settled, waiting or failed), and what was observed last."""

    seen: Observation | None
    decision: Settled | Wait | None = None
    error: SubFunctionError | None = None
    memory: RetryState = dataclasses.field(default_factory=RetryState)
    """What was tried already, so that the next run does not repeat it."""

    @property
    def released(self) -> bool:
        """Whether all is settled and no record is left: we have nothing left to do with the sub-function.

        The kernel may still have it: after `Retain`, and where the port is not ours.
        """
        return isinstance(self.decision, Settled) and (self.seen is None or self.seen.record is None)

    @property
    def attaching(self) -> bool:
        """Whether it waits for the kernel, which finishes by itself."""
        return isinstance(self.decision, Wait) and self.decision.kernel
