"""Hooks around each effect: for logs, for metrics, and for tests that kill the process before or after an effect."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

from subfunction_operator.agent.model.steps import Effect

_LOG = logging.getLogger(__name__)


class StepHooks(Protocol):
    """Called around each step, in the parent's thread, and around each write to the API server, in the event loop."""

    def before(self, uid: str, step: Effect) -> None:
        """Handle that a step is about to be applied."""

    def after(self, uid: str, step: Effect) -> None:
        """Handle that a step was applied without an error."""


class LoggingHooks:
    """Logs each step at debug level: the hooks of normal operation."""

    def before(self, uid: str, step: Effect) -> None:
        """Log nothing: an error is logged where it is caught."""

    def after(self, uid: str, step: Effect) -> None:
        """Log the step."""
        _LOG.debug("%s: %s", uid, step)


@contextlib.contextmanager
def call_hooks(hooks: StepHooks, uid: str, step: Effect) -> Iterator[None]:
    """Call the hooks ahead of a block and at its end; `after` is not called if the block raises."""
    hooks.before(uid, step)
    yield
    hooks.after(uid, step)
