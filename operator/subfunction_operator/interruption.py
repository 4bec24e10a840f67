"""Taking a device out of the offer, off its users' bus and back, without ever touching what a pod has. Pure."""

from subfunction.reasons import Reason
from subfunction.records import Health, Record, State
from subfunction_operator.decision import Ask, Decision, Rest, Steps
from subfunction_operator.observation import Observation
from subfunction_operator.step import DeleteVdpa, OverrideDriver, Step, StoreRecord, UnbindDriver


def unready(record: Record) -> tuple[Step, ...]:
    """Give the step that takes it out of the offer, before anything happens to it; none where it is not offered."""
    if record.state is State.PREPARING:
        return ()
    health = Health(reason=Reason.NOT_READY, message="the agent is working on it")
    return (StoreRecord(record.moved(State.PREPARING, health)),)


def lapsed(record: Record) -> tuple[Step, ...]:
    """Give the step that takes back what was offered, since the device itself is no more; none where nothing is."""
    if record.state is State.PREPARING and not record.device_id:
        return ()
    return (
        StoreRecord(
            Record(
                uid=record.uid,
                name=record.name,
                boot_id=record.boot_id,
                state=State.PREPARING,
                generation=record.generation + (record.state is not State.PREPARING),
                claim=record.claim,
                resource=record.resource,
                deletion=record.deletion,
                remade=record.remade or bool(record.witness.inodes),
                health=Health(reason=Reason.NOT_READY, message="its device went away and is being made again"),
            )
        ),
    )


def healed(seen: Observation, record: Record) -> tuple[Step, ...]:
    """Give the step by which a record is whole again whose device a pod has; none where it is, or cannot be told.

    One that was made anew is whole, but not what that pod has.
    """
    whole = record.state is State.READY and record.health.healthy
    if whole or record.remade or not seen.witnessed or record.state not in {State.READY, State.PREPARING}:
        return ()
    return (StoreRecord(record.moved(State.READY, Health(healthy=True))),)


def interrupted(seen: Observation, record: Record, what: str, *change: Step) -> Decision:
    """First leave the offer, then look whether a pod was faster, and only then touch it."""
    if seen.held:
        # One was, and what it was promised is all there: it keeps it, and the change waits.
        return (
            Steps(again)
            if (again := healed(seen, record))
            else Rest(pending=f"{what} can change when no pod has the device; {seen.why_held}")
        )
    if not seen.usage.asked:
        return Ask()
    return Steps(unready(record) or change)


def vacated(seen: Observation) -> tuple[Step, ...]:
    """Take every vDPA device off a function before the function is deactivated or reloaded.

    Unbound first, since that waits for a holder alone. Then its `driver_override` is written: that takes the device's
    lock, and so no unbinding is under way when `vdpa dev del` takes the lock of all vDPA devices.
    """
    steps: list[Step] = []
    for device in seen.vdpas:
        if device.driver is not None:
            steps.append(UnbindDriver("vdpa", device.name, device.driver))
        steps += [OverrideDriver("vdpa", device.name, None), DeleteVdpa(device.name)]
    return tuple(steps)
