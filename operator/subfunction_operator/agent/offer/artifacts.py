"""Plans a device's artifacts: the files that container runtimes (CDI) and CNI plugins (device-info) read. Pure.

Artifacts follow the record. They are written before it is `ready`, repaired while it is `ready`, and removed before it
stops naming them: before the record is removed, and before a device that is being deleted leaves its bus.
A file that no record names (the agent was killed between the two writes) is removed when the agent starts.
"""

import dataclasses

from subfunction.state.records import Record, State
from subfunction_operator.agent.model.decision import Decision, Settled, Steps, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import (
    RemoveCdi,
    RemoveDeviceInfo,
    Step,
    StoreRecord,
    WriteCdi,
    WriteDeviceInfo,
)
from subfunction_operator.agent.offer import cdi, deviceinfo


def with_artifact_steps(decision: Decision, seen: Observation) -> Decision:
    """Return a decision with the steps that keep the artifacts in line with the record."""
    match decision:
        case Steps(steps, last):
            return Steps(_insert_steps(steps, seen), last)
        case Settled() | Wait() if seen.record is not None and _needs_artifacts(seen.record):
            repairs = _write_steps(seen.record, _existing(seen), seen)
            return Steps(repairs) if repairs else decision
        case _:
            return decision


def _insert_steps(steps: tuple[Step, ...], seen: Observation) -> tuple[Step, ...]:
    old, found = seen.record, _existing(seen)
    result: list[Step] = []
    if old is not None and old.state is State.DRAINING:
        # No pod uses the device, or its deletion is forced: from now on no container may start with it.
        result += _remove_steps(old.uid, found)
        found = _Artifacts()
    for step in steps:
        if isinstance(step, StoreRecord):
            record = step.record
            if not _names_same_files(old, record):
                result += _remove_steps(record.uid, found)
                found = _Artifacts()
            if _needs_artifacts(record):
                result += _write_steps(record, found, seen)
            old = record
        result.append(step)
    return tuple(result)


@dataclasses.dataclass(frozen=True, slots=True)
class _Artifacts:
    """The artifacts that exist, or that should: the CDI file's text, and the device-info file's name and text."""

    cdi: str | None = None
    name: str = ""
    info: str | None = None


def _existing(seen: Observation) -> _Artifacts:
    """Return the artifacts that exist and are ours; another SubFunction's device-info file may have the same name."""
    record, artifacts = seen.record, seen.artifacts
    if record is None or deviceinfo.read_owner(artifacts.device_info) != record.uid:
        return _Artifacts(artifacts.cdi)
    return _Artifacts(artifacts.cdi, deviceinfo.file_name(record.resource, record.device_id), artifacts.device_info)


def _render(record: Record, seen: Observation) -> _Artifacts:
    name = deviceinfo.file_name(record.resource, record.device_id)
    return _Artifacts(cdi.render(record), name, deviceinfo.render(record, seen))


def _needs_artifacts(record: Record) -> bool:
    """Return whether a record's artifacts must exist; those of an unhealthy record stay as they are."""
    return record.state is State.READY and record.health.healthy


def _names_same_files(old: Record | None, new: Record) -> bool:
    """Return whether the new record names the same files as the old one."""
    if old is None:
        return False
    names = [(each.resource, each.device_id, each.cdi_name is None) for each in (old, new)]
    return names[0] == names[1]


def _write_steps(record: Record, found: _Artifacts, seen: Observation) -> tuple[Step, ...]:
    wanted = _render(record, seen)
    steps: list[Step] = []
    if wanted.cdi != found.cdi:
        steps.append(RemoveCdi(record.uid) if wanted.cdi is None else WriteCdi(record.uid, wanted.cdi))
    if wanted.info is not None and wanted.info != found.info:
        steps.append(WriteDeviceInfo(wanted.name, wanted.info))
    elif wanted.info is None and found.info is not None:
        steps.append(RemoveDeviceInfo(found.name))
    return tuple(steps)


def _remove_steps(uid: str, found: _Artifacts) -> tuple[Step, ...]:
    cdi_file: tuple[Step, ...] = () if found.cdi is None else (RemoveCdi(uid),)
    return cdi_file + (() if found.info is None else (RemoveDeviceInfo(found.name),))
