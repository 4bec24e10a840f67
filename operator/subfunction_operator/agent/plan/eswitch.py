"""Plans the way back into switchdev mode of a parent that a reload, a recovery or a reboot has left in legacy mode.

The kernel keeps no e-switch mode (mlx5 and ice begin in legacy mode, Linux 6.12), and without the setting
`restore-switchdev` an administrator has to set it again.
"""

import errno

from subfunction.errors import NotSwitchdev
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Steps
from subfunction_operator.agent.model.steps import SetSwitchdev


def plan_restore_switchdev(context: PlanContext) -> Steps | None:
    """Plan to put the parent back into switchdev mode; None where it is not in legacy mode, or that is not ours to do.

    It is ours where the node's administrator has set `restore-switchdev`, and the sub-function existed on this parent,
    so that the parent was in switchdev mode. A card that its driver gave up says legacy too, and refuses a change.

    Raises:
        NotSwitchdev: the parent has functions that a change of the mode would reset.
    """
    parent = context.parent
    existed = context.seen.claim is not None or context.desired.status_number is not None
    if parent.failed or not (parent.legacy and existed and context.policy.restore_switchdev):
        return None
    handle = parent.function.handle
    if parent.functions:
        first, *more = parent.functions
        others = f" and {len(more)} more" if more else ""
        raise NotSwitchdev(
            f"the e-switch of {handle} is in legacy mode, and `restore-switchdev` leaves it there while the parent has"
            f" other functions ({first}{others})",
            errno=errno.EBUSY,
            hint=f"Remove them, or type `devlink dev eswitch set {handle} mode switchdev`, which resets them.",
        )
    return Steps((SetSwitchdev(handle),))
