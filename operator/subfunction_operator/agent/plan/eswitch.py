"""Plans the way back into switchdev mode of a parent that a reload or a recovery has left in legacy mode.

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

    It is ours where the node's administrator has set `restore-switchdev`, and this boot's record says that the
    sub-function was on this parent. A status alone is no evidence: after a reboot its PCI address may be another
    card's. A card that its driver gave up, or could not reload, says legacy too.

    Raises:
        NotSwitchdev: the parent has functions that a change of the mode would reset, or the last attempt was a moment
            ago.
    """
    parent, seen = context.parent, context.seen
    existed = seen.claim is not None and seen.this_boot
    if parent.failed or parent.reload_failed:
        return None
    if not (parent.legacy and existed and context.policy.restore_switchdev):
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
    if context.memory.no_restore is not None:
        raise NotSwitchdev(
            f"the e-switch of {handle} is in legacy mode: {context.memory.no_restore}",
            errno=errno.EAGAIN,
            hint="The agent tries it again later (`restore-switchdev`); see `dmesg` for what prevents it.",
        )
    return Steps((SetSwitchdev(handle),))
