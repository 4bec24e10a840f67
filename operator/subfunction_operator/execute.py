"""One step to the kernel or to disk; the seam hears of each."""

import dataclasses
import logging
from collections.abc import Callable
from typing import TypeAlias, assert_never

from subfunction.errors import Gone, KernelError
from subfunction.folder import Folder
from subfunction.kernel import binding, mdev
from subfunction.kernel.detached import Detached
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.sysfs import Sysfs
from subfunction.records import Record
from subfunction_operator import step as steps
from subfunction_operator.doors import Doors
from subfunction_operator.paperfolders import PaperFolders
from subfunction_operator.seam import LoggedSteps, Seam, heard
from subfunction_operator.step import Step

_LOG = logging.getLogger("subfunction.step")

_Filed: TypeAlias = (
    steps.StoreRecord
    | steps.RemoveRecord
    | steps.WriteCdi
    | steps.RemoveCdi
    | steps.WriteDeviceInfo
    | steps.RemoveDeviceInfo
)
_Written: TypeAlias = (
    steps.OverrideDriver | steps.UnbindDriver | steps.ProbeDriver | steps.CreateMediated | steps.RemoveMediated
)
_Function: TypeAlias = (
    steps.SetFunction
    | steps.Activate
    | steps.Deactivate
    | steps.SetParameter
    | steps.Reload
    | steps.SetRate
    | steps.DeletePort
)


@dataclasses.dataclass(frozen=True, slots=True)
class Executor:
    """The hands of the agent."""

    sysfs: Sysfs
    records: Folder[Record]
    papers: PaperFolders
    seam: Seam = dataclasses.field(default_factory=LoggedSteps)
    detached: Detached = dataclasses.field(default_factory=Detached)

    def take(self, doors: Doors, uid: str, step: Step) -> int | None:
        """Take one step; the index of a port that was made is given back.

        Raises:
            HeldOpen: the kernel waits for whoever has the device open; the step goes on without us.
            SubFunctionError: the kernel or the disk refused; the step may be taken again.
        """
        with heard(self.seam, uid, step):
            try:
                return self._take(doors, step)
            except KernelError as refused:
                if not isinstance(step, steps.SetFunction | steps.SetLink) or not step.restoring:
                    raise
                _LOG.warning("%s stays as it is, and not as it was found: %s", uid, refused)
        return None

    def _take(self, doors: Doors, step: Step) -> int | None:
        match step:
            case (
                steps.StoreRecord()
                | steps.RemoveRecord()
                | steps.WriteCdi()
                | steps.RemoveCdi()
                | steps.WriteDeviceInfo()
                | steps.RemoveDeviceInfo()
            ):
                self._file(step)
            case steps.CreatePort(parent, pf, number, controller):
                return doors.devlink.new_port(parent, pf=pf, number=number, controller=controller).index
            case steps.SetLink(netdev, settings):
                doors.links.set(netdev.ifindex, settings)
            case steps.AddVdpa(name, management, settings):
                doors.vdpa.add(name, management, settings)
            case steps.DeleteVdpa(name):
                _unless_gone(lambda: doors.vdpa.delete(name))
            case (
                steps.OverrideDriver()
                | steps.UnbindDriver()
                | steps.ProbeDriver()
                | steps.CreateMediated()
                | steps.RemoveMediated()
            ):
                self._write(step)
            case _:
                _function(doors.devlink, step)
        return None

    def _file(self, step: _Filed) -> None:
        match step:
            case steps.StoreRecord(record):
                self.records.write(record.uid, record)
            case steps.RemoveRecord(uid):
                self.records.remove(uid)
            case steps.WriteCdi(uid, text):
                self.papers.write_cdi(uid, text)
            case steps.RemoveCdi(uid):
                self.papers.remove_cdi(uid)
            case steps.WriteDeviceInfo(name, text):
                self.papers.write_device_info(name, text)
            case steps.RemoveDeviceInfo(name):
                self.papers.remove_device_info(name)

    def _write(self, step: _Written) -> None:
        """Write to a device's attribute, in a thread of its own: the kernel may keep the writer."""
        sysfs = self.sysfs
        match step:
            case steps.OverrideDriver(bus, device, driver):
                what, job = "driver_override", lambda: binding.override(sysfs, bus, device, driver)
            case steps.UnbindDriver(bus, device, driver):
                what, job = (
                    f"unbinding {driver}",
                    lambda: _unless_gone(lambda: binding.unbind(sysfs, bus, device, driver)),
                )
            case steps.ProbeDriver(bus, device):
                what, job = "probing", lambda: binding.probe(sysfs, bus, device)
            case steps.CreateMediated(parent, kind, uuid):
                device = uuid
                what, job = "creating", lambda: mdev.create(sysfs, parent, kind, uuid)
            case steps.RemoveMediated(uuid):
                device = uuid
                what, job = "removing", lambda: _unless_gone(lambda: mdev.remove(sysfs, uuid))
            case _:
                assert_never(step)
        self.detached.run(device, f"{what} of {device}", job)


def _function(devlink: Devlink, step: _Function) -> None:
    match step:
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
        case steps.SetRate(parent, index, share, maximum):
            devlink.set_rate(parent, index, share=share, maximum=maximum)
        case steps.DeletePort(parent, index):
            _unless_gone(lambda: devlink.delete_port(parent, index))
        case _:
            assert_never(step)


def _unless_gone(job: Callable[[], None]) -> None:
    try:
        job()
    except Gone:
        return  # somebody was faster, and that is what was wanted
