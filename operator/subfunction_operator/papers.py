"""A device's papers: the files that container runtimes (CDI) and CNI plugins (device-info) read of it. Pure.

They follow the record. They are there before it says `ready`, they are mended for as long as it does, and they are gone
before it no longer names them: before it is removed, and before a device that is deleted leaves its users' bus.
A file that no record names (the agent was killed just before the record did) is removed when the agent starts.
"""

import dataclasses

from subfunction.records import Record, State
from subfunction_operator import cdi, deviceinfo
from subfunction_operator.decision import Decision, Rest, Steps, Wait
from subfunction_operator.observation import Observation
from subfunction_operator.step import RemoveCdi, RemoveDeviceInfo, Step, StoreRecord, WriteCdi, WriteDeviceInfo


def accompanied(decision: Decision, seen: Observation) -> Decision:
    """Give a decision with what it means for the papers."""
    match decision:
        case Steps(steps, last):
            return Steps(_accompanied(steps, seen), last)
        case Rest() | Wait() if seen.record is not None and _offered(seen.record):
            mended = _written(seen.record, _found(seen), seen)
            return Steps(mended) if mended else decision
        case _:
            return decision


def _accompanied(steps: tuple[Step, ...], seen: Observation) -> tuple[Step, ...]:
    old, found = seen.record, _found(seen)
    taken: list[Step] = []
    if old is not None and old.state is State.DRAINING:
        # Nobody has it, or it is taken from whoever has it: from now on no container starts with it.
        taken += _removed(old.uid, found)
        found = _Found()
    for step in steps:
        if isinstance(step, StoreRecord):
            record = step.record
            if not _named_alike(old, record):
                taken += _removed(record.uid, found)
                found = _Found()
            if _offered(record):
                taken += _written(record, found, seen)
            old = record
        taken.append(step)
    return tuple(taken)


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What is on disk, or should be; `name` is that of the device-info file."""

    cdi: str | None = None
    name: str = ""
    info: str | None = None


def _found(seen: Observation) -> _Found:
    """Leave out a device-info file that is another's, under a name that a record of ours had once."""
    record, papers = seen.record, seen.papers
    if record is None or deviceinfo.owner(papers.device_info) != record.uid:
        return _Found(papers.cdi)
    return _Found(papers.cdi, deviceinfo.file_name(record.resource, record.device_id), papers.device_info)


def _wanted(record: Record, seen: Observation) -> _Found:
    name = deviceinfo.file_name(record.resource, record.device_id)
    return _Found(cdi.text(record), name, deviceinfo.text(record, seen))


def _offered(record: Record) -> bool:
    """Say whether the papers of a record must be there: what is broken keeps them as they are."""
    return record.state is State.READY and record.health.healthy


def _named_alike(old: Record | None, new: Record) -> bool:
    """Say whether the record goes on naming the same files."""
    if old is None:
        return False
    names = [(each.resource, each.device_id, each.cdi_name is None) for each in (old, new)]
    return names[0] == names[1]


def _written(record: Record, found: _Found, seen: Observation) -> tuple[Step, ...]:
    wanted = _wanted(record, seen)
    steps: list[Step] = []
    if wanted.cdi != found.cdi:
        steps.append(RemoveCdi(record.uid) if wanted.cdi is None else WriteCdi(record.uid, wanted.cdi))
    if wanted.info is not None and wanted.info != found.info:
        steps.append(WriteDeviceInfo(wanted.name, wanted.info))
    elif wanted.info is None and found.info is not None:
        steps.append(RemoveDeviceInfo(found.name))
    return tuple(steps)


def _removed(uid: str, found: _Found) -> tuple[Step, ...]:
    cdi_file: tuple[Step, ...] = () if found.cdi is None else (RemoveCdi(uid),)
    return cdi_file + (() if found.info is None else (RemoveDeviceInfo(found.name),))
