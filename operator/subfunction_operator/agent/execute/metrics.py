"""Measures the duration of steps, and of writes to the API server."""

import re
import time
from collections.abc import Callable
from typing import Final

from subfunction.process.metrics import AgentMetrics
from subfunction_operator.agent.model.hooks import StepHooks
from subfunction_operator.agent.model.steps import Effect, WriteObject

_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")


class MetricsHooks:
    """Step hooks that measure the time between `before` and `after`, and call other hooks."""

    def __init__(self, hooks: StepHooks, metrics: AgentMetrics, flavour: Callable[[str], str]) -> None:
        self._hooks = hooks
        self._metrics = metrics
        self._flavour = flavour
        self._began: dict[str, float] = {}

    def before(self, uid: str, step: Effect) -> None:
        """Note the start; a sub-function has one step at a time, in whichever thread, so that its uid is the key."""
        self._hooks.before(uid, step)
        self._began[uid] = time.monotonic()

    def after(self, uid: str, step: Effect) -> None:
        """Record the seconds since the start."""
        began = self._began.pop(uid, None)
        if began is not None:
            self._metrics.record_step(operation_name(step), self._flavour(uid), time.monotonic() - began)
        self._hooks.after(uid, step)


def operation_name(step: Effect) -> str:
    """Return a step's name in the metrics: `create_port`, `write_status`."""
    if isinstance(step, WriteObject):
        return f"write_{step.what}"
    return _WORDS.sub("_", type(step).__name__).lower()
