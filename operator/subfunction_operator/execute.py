"""One step to the kernel or to disk; a seam hears "about to" and "done" of each.

The seam is where logs and metrics listen, and where tests hold a process to kill it between any two effects.
"""

import dataclasses
import logging
from typing import Protocol, assert_never

from subfunction.errors import Gone
from subfunction.folder import Folder
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.sysfs import Sysfs
from subfunction.records import Record
from subfunction_operator import step as steps
from subfunction_operator.step import Step

_LOG = logging.getLogger("subfunction.step")


class Seam(Protocol):
    """Who hears of each step, in the parent's thread."""

    def about_to(self, uid: str, step: Step) -> None:
        """Hear that a step is next."""

    def done(self, uid: str, step: Step) -> None:
        """Hear that a step has had its effect."""


class LoggedSteps:
    """The seam of every day: a line a step, at debug level."""

    def about_to(self, uid: str, step: Step) -> None:
        """Log nothing: what failed is logged by who catches it."""

    def done(self, uid: str, step: Step) -> None:
        """Log what was done."""
        _LOG.debug("%s: %s", uid, step)


@dataclasses.dataclass(frozen=True, slots=True)
class Executor:
    """The hands of the agent."""

    sysfs: Sysfs
    records: Folder[Record]
    seam: Seam = dataclasses.field(default_factory=LoggedSteps)

    def take(self, devlink: Devlink, uid: str, step: Step) -> int | None:
        """Take one step; the index of a port that was made is given back.

        Raises:
            SubFunctionError: the kernel or the disk refused; the step may be taken again.
        """
        self.seam.about_to(uid, step)
        index = self._take(devlink, step)
        self.seam.done(uid, step)
        return index

    def _take(self, devlink: Devlink, step: Step) -> int | None:
        match step:
            case steps.StoreRecord(record):
                self.records.write(record.uid, record)
            case steps.RemoveRecord(uid):
                self.records.remove(uid)
            case steps.CreatePort(parent, pf, number, controller):
                return devlink.new_port(parent, pf=pf, number=number, controller=controller).index
            case steps.SetFunction(parent, index, settings):
                devlink.set_function(parent, index, settings)
            case steps.Activate(parent, index):
                devlink.set_active(parent, index, active=True)
            case steps.Deactivate(parent, index):
                devlink.set_active(parent, index, active=False)
            case steps.SetParameter(instance, name, value):
                devlink.set_parameter(instance, name, value=value)
            case steps.Reload(instance):
                devlink.reload(instance)
            case steps.SetLink(netdev, up):
                netdev.set_up(self.sysfs, up=up)
            case steps.DeletePort(parent, index):
                _delete(devlink, step)
            case _:
                assert_never(step)
        return None


def _delete(devlink: Devlink, step: steps.DeletePort) -> None:
    try:
        devlink.delete_port(step.parent, step.index)
    except Gone:
        return  # somebody was faster, and that is what was wanted
