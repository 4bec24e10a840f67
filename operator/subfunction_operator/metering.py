"""Where the agent's figures come from: the seam between its steps, and its objects."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from subfunction.api import ConditionType, Phase, SubFunction
from subfunction.metrics import OTHER, AgentMetrics, Counts, bounded
from subfunction.reasons import Reason
from subfunction_operator.seam import Seam
from subfunction_operator.step import Effect, WriteObject

_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")
_PHASES: Final = frozenset(str(phase) for phase in Phase)


class MeteredSteps:
    """A seam that measures between "about to" and "done", and passes both on."""

    def __init__(self, seam: Seam, metrics: AgentMetrics, flavour: Callable[[str], str]) -> None:
        self._seam = seam
        self._metrics = metrics
        self._flavour = flavour
        self._began: dict[str, float] = {}

    def about_to(self, uid: str, step: Effect) -> None:
        """Take the time; a sub-function takes one step at a time, whichever thread that is in."""
        self._seam.about_to(uid, step)
        self._began[uid] = time.monotonic()

    def done(self, uid: str, step: Effect) -> None:
        """Note the seconds."""
        began = self._began.pop(uid, None)
        if began is not None:
            self._metrics.operated(operation(step), self._flavour(uid), time.monotonic() - began)
        self._seam.done(uid, step)


def operation(step: Effect) -> str:
    """Name a step as its shell twin's reader would: `create_port`, `write_status`."""
    if isinstance(step, WriteObject):
        return f"write_{step.what}"
    return _WORDS.sub("_", type(step).__name__).lower()


def phases(objects: Iterable[SubFunction]) -> Counts:
    """Count sub-functions by flavour and phase."""
    return Counter((each.spec.flavour, _phase(each.status.phase)) for each in objects)


def troubles(objects: Iterable[SubFunction]) -> Counts:
    """Count those that are not Ready, by reason; one that says nothing yet is Pending."""
    ready = (each.status.condition(ConditionType.READY) for each in objects)
    unready = (each for each in ready if each is None or each.status != "True")
    return Counter((bounded(each.reason) if each else Reason.PENDING,) for each in unready)


def _phase(text: str) -> str:
    return Phase.PENDING if not text else text if text in _PHASES else OTHER
