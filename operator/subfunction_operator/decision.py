"""What a plan comes to: steps up to the next moment at which somebody must look again, a wait, a rest, or a question.

Somebody must look again where the kernel chose something, or takes its time.
"""

import dataclasses
from typing import TypeAlias

from subfunction.reasons import Reason
from subfunction_operator.step import Step


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """Take these in their order, then look again; after the `last` there is nothing new to see."""

    steps: tuple[Step, ...]
    last: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something else happens: the kernel finishes (`kernel`), or a pod ends."""

    reason: Reason
    message: str
    kernel: bool
    hint: str = ""
    """What a person does if it does not end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """All is as asked; `pending` says what is left out because a pod has the device, and `reason` what kind that is."""

    pending: str = ""
    reason: Reason = Reason.CHANGE_PENDING


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """Look again, and ask the kubelet this time: what comes next depends on whether a pod has the device."""


Decision: TypeAlias = Steps | Wait | Rest | Ask
