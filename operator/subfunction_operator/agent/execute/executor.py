"""Applies a step to the kernel or to disk; the hooks are called around each."""

import dataclasses
import logging
from collections.abc import Callable
from typing import TypeAlias, assert_never

from subfunction.errors import Gone, HeldOpen, KernelError, NotPermitted, PfNumberRefused
from subfunction.kernel.blocking_calls import BlockingCalls
from subfunction.kernel.bus import driver_binding, mdev
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.records import Record
from subfunction.state.store import FileStore
from subfunction_operator.agent.execute.kernel import KernelClients
from subfunction_operator.agent.model import steps
from subfunction_operator.agent.model.hooks import LoggingHooks, StepHooks, call_hooks
from subfunction_operator.agent.model.steps import Step
from subfunction_operator.agent.offer.artifact_store import ArtifactStore

_LOG = logging.getLogger(__name__)

_FileStep: TypeAlias = (
    steps.StoreRecord
    | steps.RemoveRecord
    | steps.WriteCdi
    | steps.RemoveCdi
    | steps.WriteDeviceInfo
    | steps.RemoveDeviceInfo
)
_DevlinkStep: TypeAlias = (
    steps.SetSwitchdev
    | steps.SetFunction
    | steps.Activate
    | steps.Deactivate
    | steps.SetParameter
    | steps.Reload
    | steps.SetRate
    | steps.DeletePort
)


@dataclasses.dataclass(frozen=True, slots=True)
class Executor:
    """Applies the steps of one node's plans."""

    sysfs: Sysfs
    records: FileStore[Record]
    artifacts: ArtifactStore
    hooks: StepHooks = dataclasses.field(default_factory=LoggingHooks)
    blocking: BlockingCalls = dataclasses.field(default_factory=BlockingCalls)

    def apply(self, clients: KernelClients, uid: str, step: Step) -> int | None:
        """Apply one step; return the index of the port that it made, None for every other step.

        Raises:
            HeldOpen: the kernel waits until a process closes the device; the step goes on in a thread of its own.
            SubFunctionError: the kernel or the disk refused; the step may be applied again.
        """
        with call_hooks(self.hooks, uid, step):
            try:
                return self._apply(clients, step)
            except KernelError as refused:
                if not isinstance(step, steps.SetFunction | steps.SetLink) or not step.restoring:
                    raise
                _LOG.warning("%s: a setting could not be set back to what was found: %s", uid, refused)
        return None

    def _apply(self, clients: KernelClients, step: Step) -> int | None:
        match step:
            case (
                steps.StoreRecord()
                | steps.RemoveRecord()
                | steps.WriteCdi()
                | steps.RemoveCdi()
                | steps.WriteDeviceInfo()
                | steps.RemoveDeviceInfo()
            ):
                self._apply_file(step)
            case steps.CreatePort():
                return _create_port(clients.devlink, step)
            case steps.SetLink(netdev, settings):
                clients.links.set(netdev.ifindex, settings)
            case steps.AddVdpa(name, management, settings):
                clients.vdpa.add(name, management, settings)
            case steps.DeleteVdpa(name):
                _ignore_gone(lambda: clients.vdpa.delete(name))
            case (
                steps.OverrideDriver()
                | steps.UnbindDriver()
                | steps.BindDriver()
                | steps.ProbeDriver()
                | steps.CreateMediated()
                | steps.RemoveMediated()
            ):
                self._apply_write(step)
            case _:
                _apply_devlink(clients.devlink, step)
        return None

    def _apply_file(self, step: _FileStep) -> None:
        match step:
            case steps.StoreRecord(record):
                self.records.write(record.uid, record)
            case steps.RemoveRecord(uid):
                self.records.remove(uid)
            case steps.WriteCdi(uid, text):
                self.artifacts.write_cdi(uid, text)
            case steps.RemoveCdi(uid):
                self.artifacts.remove_cdi(uid)
            case steps.WriteDeviceInfo(name, text):
                self.artifacts.write_device_info(name, text)
            case steps.RemoveDeviceInfo(name):
                self.artifacts.remove_device_info(name)

    def _apply_write(self, step: steps.SysfsWrite) -> None:
        """Write to a device's attribute, in a thread of its own: the write may block in the kernel."""
        sysfs = self.sysfs
        match step:
            case steps.OverrideDriver(bus, device, driver):
                what, job = "driver_override", lambda: driver_binding.override(sysfs, bus, device, driver)
            case steps.UnbindDriver(bus, device, driver):
                what, job = (
                    f"unbinding {driver}",
                    lambda: _ignore_gone(lambda: driver_binding.unbind(sysfs, bus, device, driver)),
                )
            case steps.BindDriver():
                self._apply_bind(step)
                return
            case steps.ProbeDriver(bus, device):
                what, job = "probing", lambda: driver_binding.probe(sysfs, bus, device)
            case steps.CreateMediated(parent, kind, uuid):
                device = uuid
                what, job = "creating", lambda: mdev.create(sysfs, parent, kind, uuid)
            case steps.RemoveMediated(uuid):
                device = uuid
                what, job = "removing", lambda: _ignore_gone(lambda: mdev.remove(sysfs, uuid))
            case _:
                assert_never(step)
        self.blocking.run(device, f"{what} of {device}", job)

    def _apply_bind(self, step: steps.BindDriver) -> None:
        """Let a driver probe a device: what becomes of it, the next observation shows, as after a probe by the bus."""
        what = f"binding {step.driver} of {step.device}"
        try:
            self.blocking.run(
                step.device, what, lambda: driver_binding.bind(self.sysfs, step.bus, step.device, step.driver)
            )
        except NotPermitted:
            raise
        except KernelError as refused:
            _LOG.warning("%s did not take %s: %s", step.driver, step.device, refused)
        except HeldOpen:
            _LOG.info("%s is still probing %s", step.driver, step.device)


def _create_port(devlink: Devlink, step: steps.CreatePort) -> int:
    *earlier, last = step.pfs
    for pf in earlier:
        try:
            return devlink.create_port(step.parent, pf=pf, number=step.number).index
        except PfNumberRefused as refused:
            _LOG.debug("%s", refused)
    return devlink.create_port(step.parent, pf=last, number=step.number).index


def _apply_devlink(devlink: Devlink, step: _DevlinkStep) -> None:
    match step:
        case steps.SetSwitchdev(parent):
            _LOG.warning("the e-switch of %s is put back from legacy into switchdev mode", parent)
            devlink.set_eswitch_mode(parent, EswitchMode.SWITCHDEV)
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
            _ignore_gone(lambda: devlink.delete_port(parent, index))
        case _:
            assert_never(step)


def _ignore_gone(job: Callable[[], None]) -> None:
    try:
        job()
    except Gone:
        return  # it was removed already, which is what the step is for
