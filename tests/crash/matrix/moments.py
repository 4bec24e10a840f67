"""The agent's side of a kill: the seam that writes down each moment, and ends the process at the one that was ordered.

A moment is what comes right before or right after an effect, as a text that is the same in every run. Nothing is caught
and nothing tidied up: the process sends itself SIGKILL in the very thread that has the effect.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from subfunction_operator import step as steps
from subfunction_operator.step import Effect

FENCE: Final = "kernel/fence"
"""An attribute of the simulated sysfs that is emptied once the kernel has heard of all that was written before."""

_WRITTEN: Final = (
    steps.OverrideDriver | steps.UnbindDriver | steps.ProbeDriver | steps.CreateMediated | steps.RemoveMediated
)
_FENCE_SECONDS: Final = 5.0


class Order(msgspec.Struct, frozen=True):
    """When to die: at the `nth` time of a moment (from 1) since the order was given, or at any moment if it is empty."""

    moment: str
    nth: int


class Orders:
    """The file in which the matrix orders an agent's end, and the one in which the agent writes its moments down."""

    def __init__(self, folder: Path) -> None:
        self._order = folder / "order.json"
        self._moments = folder / "moments"

    def give(self, order: Order | None) -> None:
        """Order the end of whichever agent comes to it first; None takes the order back."""
        if order is None:
            self._order.unlink(missing_ok=True)
            return
        temporary = self._order.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(order))
        temporary.rename(self._order)

    def given(self) -> Order | None:
        """Read the order that stands."""
        try:
            return msgspec.json.decode(self._order.read_bytes(), type=Order)
        except FileNotFoundError:
            return None

    def note(self, moment: str) -> None:
        """Write a moment down."""
        with self._moments.open("a", encoding="utf-8") as file:
            file.write(f"{moment}\n")

    def noted(self) -> list[str]:
        """Give all moments so far."""
        try:
            return self._moments.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


class Killer:
    """The seam of an agent that may be ordered to die."""

    def __init__(self, orders: Orders, sysfs: Path) -> None:
        self._orders = orders
        self._fence = sysfs / FENCE
        self._lock = threading.Lock()
        self._order: Order | None = None
        self._count = 0

    def about_to(self, uid: str, step: Effect) -> None:
        """Hear that an effect is next."""
        self._moment(f"before {label(step)}")

    def done(self, uid: str, step: Effect) -> None:
        """Hear of an effect; what was written to sysfs has acted when the real kernel returns from the write."""
        if isinstance(step, _WRITTEN):
            self._pass_fence()
        self._moment(f"after {label(step)}")

    def _moment(self, moment: str) -> None:
        with self._lock:
            order = self._orders.given()
            if order != self._order:
                self._order, self._count = order, 0
            self._orders.note(moment)
            if order is not None and order.moment in {"", moment}:
                self._count += 1
                if self._count == order.nth:
                    os.kill(os.getpid(), signal.SIGKILL)

    def _pass_fence(self) -> None:
        # One inotify queue carries every write, so whoever has seen this one has seen those before.
        self._fence.write_text("1", encoding="ascii")
        deadline = time.monotonic() + _FENCE_SECONDS
        while self._fence.stat().st_size and time.monotonic() < deadline:
            time.sleep(0.0002)


def label(step: Effect) -> str:
    """Name an effect so that it is told from its like, and named alike in every run."""
    match step:
        case steps.StoreRecord(record):
            return f"StoreRecord {record.state}"
        case steps.SetParameter(_, name, _):
            return f"SetParameter {name}"
        case steps.OverrideDriver(_, _, driver):
            return f"OverrideDriver {driver or 'none'}"
        case steps.UnbindDriver(_, _, driver):
            return f"UnbindDriver {driver}"
        case steps.WriteObject(what, _):
            return what
        case _:
            return type(step).__name__
