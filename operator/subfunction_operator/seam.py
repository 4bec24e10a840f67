"""The seam around each effect: where logs and metrics listen, and where tests hold a process to kill it between two."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

from subfunction_operator.step import Effect

_LOG = logging.getLogger("subfunction.step")


class Seam(Protocol):
    """Who hears of each step, in the parent's thread; of what is written to the API server, in the event loop."""

    def about_to(self, uid: str, step: Effect) -> None:
        """Hear that a step is next."""

    def done(self, uid: str, step: Effect) -> None:
        """Hear that a step has had its effect."""


class LoggedSteps:
    """The seam of every day: a line a step, at debug level."""

    def about_to(self, uid: str, step: Effect) -> None:
        """Log nothing: what failed is logged by who catches it."""

    def done(self, uid: str, step: Effect) -> None:
        """Log what was done."""
        _LOG.debug("%s: %s", uid, step)


@contextlib.contextmanager
def heard(seam: Seam, uid: str, step: Effect) -> Iterator[None]:
    """Let a seam hear of what is done in a block; what failed had no effect that we know of."""
    seam.about_to(uid, step)
    yield
    seam.done(uid, step)
