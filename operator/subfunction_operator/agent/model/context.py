"""The planner's input: the desired state, the observation, the node's policy, what was tried already. Pure."""

import dataclasses

from subfunction.api.subfunction import SubFunction
from subfunction.errors import ParentNotFound
from subfunction_operator.agent.model.observation import FRESH, Desired, NodePolicy, Observation, Parent, RetryState


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """All that a plan for one sub-function depends on; every planner takes this alone."""

    desired: Desired
    seen: Observation
    policy: NodePolicy
    memory: RetryState = FRESH

    @property
    def wanted(self) -> SubFunction:
        """The object that is to be planned for; only a deletion is planned without one.

        Raises:
            ValueError: there is no object.
        """
        if self.desired.object is None:
            raise ValueError(f"{self.desired.name} has no object, and only its deletion can be planned")
        return self.desired.object

    @property
    def parent(self) -> Parent:
        """The parent as it was observed.

        Raises:
            ParentNotFound: this node does not have it.
        """
        if self.seen.parent is None:
            raise ParentNotFound(
                f"the parent {self.seen.handle} is not on this node", hint="See `devlink dev show` there."
            )
        return self.seen.parent
