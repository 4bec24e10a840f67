"""Withdraws a device from allocation before a disruptive change; never while a pod has it. Pure."""

from subfunction.api.reasons import Reason
from subfunction.state.records import Health, Record, State
from subfunction_operator.agent.model.decision import Decision, RefreshUsage, Settled, Steps
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.record import reset_record
from subfunction_operator.agent.model.steps import DeleteVdpa, OverrideDriver, Step, StoreRecord, UnbindDriver


def withdraw_steps(record: Record) -> tuple[Step, ...]:
    """Return the step that stops a device from being allocated; none where it is not published."""
    if record.state is State.PREPARING:
        return ()
    health = Health(reason=Reason.NOT_READY, message="the agent is working on it")
    return (StoreRecord(record.with_state(State.PREPARING, health)),)


def reset_record_steps(record: Record) -> tuple[StoreRecord, ...]:
    """Return the step that clears a record whose device is gone; none if it has nothing published and no device id."""
    if record.state is State.PREPARING and not record.device_id:
        return ()
    return (StoreRecord(reset_record(record)),)


def restore_ready_steps(seen: Observation, record: Record) -> tuple[Step, ...]:
    """Return the step that marks a record ready again while a pod has the device.

    No step if it is ready already, or if the witness does not match. No step for a device that was made anew: it works,
    but it is not the one that the pod has.
    """
    whole = record.state is State.READY and record.health.healthy
    if whole or record.remade or not seen.witness_holds or record.state not in {State.READY, State.PREPARING}:
        return ()
    return (StoreRecord(record.with_state(State.READY, Health(healthy=True))),)


def plan_disruptive(seen: Observation, record: Record, what: str, *change: Step) -> Decision:
    """Plan a change that would disrupt a pod: withdraw, check that no pod got the device meanwhile, then change.

    `what` names the change in a message: "MAC and capabilities".
    """
    if seen.in_use:
        # A pod has the device, complete: it keeps it, and the change waits.
        if again := restore_ready_steps(seen, record):
            return Steps(again)
        return Settled(pending=f"{what} can change when no pod has the device; {seen.why_in_use}")
    if not seen.usage.refreshed:
        return RefreshUsage()
    return Steps(withdraw_steps(record) or change)


def detach_vdpa_steps(seen: Observation) -> tuple[Step, ...]:
    """Return the steps that take every vDPA device off a function before the function is deactivated or reloaded.

    Unbinding comes first, since it waits for the process that has the device open. Writing `driver_override` takes the
    device's lock, so that no unbinding is under way when `vdpa dev del` takes the lock of all vDPA devices.
    """
    steps: list[Step] = []
    for device in seen.vdpas:
        if device.driver is not None:
            steps.append(UnbindDriver("vdpa", device.name, device.driver))
        steps += [OverrideDriver("vdpa", device.name, None), DeleteVdpa(device.name)]
    return tuple(steps)
