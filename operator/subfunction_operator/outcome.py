"""Where a run of one sub-function ended."""

import dataclasses

from subfunction.errors import SubFunctionError
from subfunction_operator.decision import Rest, Wait
from subfunction_operator.observation import Memory, Observation


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """At rest, waiting, or failed; and what was last seen."""

    seen: Observation | None
    decision: Rest | Wait | None = None
    error: SubFunctionError | None = None
    memory: Memory = dataclasses.field(default_factory=Memory)
    """What was tried on the way, so that the next run does not do it again."""

    @property
    def gone(self) -> bool:
        """Whether all that was asked has come to rest, and no record is left."""
        return isinstance(self.decision, Rest) and (self.seen is None or self.seen.record is None)

    @property
    def attaching(self) -> bool:
        """Whether the kernel is at work and will be done by itself."""
        return isinstance(self.decision, Wait) and self.decision.kernel
