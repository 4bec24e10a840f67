"""The agent to be killed: the real program, with a seam that makes moments of what it is about to do and has done."""

import asyncio
import dataclasses
import time
from pathlib import Path
from typing import Final

from matrix.moments import Orders, Reaper, hear_of_files
from subfunction_operator.agent import main
from subfunction_operator.agent.model import steps
from subfunction_operator.agent.model.steps import Effect
from subfunction_operator.agent.settings import Settings

FENCE: Final = "kernel/fence"
"""An attribute of the simulated sysfs that is emptied once the kernel has heard of all that was written before."""

_FENCE_SECONDS: Final = 5.0
_PAUSE: Final = 0.0002


@dataclasses.dataclass(frozen=True, slots=True)
class Agent:
    """An agent to start, and where its orders are."""

    settings: Settings
    orders: Orders

    def run(self) -> None:
        """Be the agent until the end."""
        reaper = Reaper(self.orders)
        folders = {
            self.settings.records: "record",
            self.settings.state: "names",
            self.settings.cdi_folder: "CDI file",
            self.settings.device_info_folder: "device-info file",
        }
        hear_of_files(reaper.moment, folders)
        asyncio.run(main.run(self.settings, _Seam(reaper, self.settings.sysfs / FENCE)))


@dataclasses.dataclass(frozen=True, slots=True)
class _Seam:
    reaper: Reaper
    fence: Path

    def before(self, uid: str, step: Effect) -> None:
        assert uid
        self.reaper.moment(f"before {_label(step)}")

    def after(self, uid: str, step: Effect) -> None:
        """Hear of an effect; what was written to sysfs has acted when the real kernel returns from the write."""
        if isinstance(step, steps.SysfsWrite):
            self._pass_fence()
        assert uid
        self.reaper.moment(f"after {_label(step)}")

    def _pass_fence(self) -> None:
        # One inotify queue carries every write, so whoever has seen this one has seen those before.
        self.fence.write_text("1", encoding="ascii")
        deadline = time.monotonic() + _FENCE_SECONDS
        while self.fence.stat().st_size and time.monotonic() < deadline:
            time.sleep(_PAUSE)


def _label(step: Effect) -> str:
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
