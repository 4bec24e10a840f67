"""Builds records: a new one, or one without the device that it named. Pure."""

from subfunction.api.reasons import Reason
from subfunction.state.claims import Claim
from subfunction.state.records import Health, Record, State
from subfunction_operator.agent.model.context import PlanContext


def build_record(context: PlanContext, claim: Claim, *, state: State = State.PREPARING, device_id: str = "") -> Record:
    """Build the record of a sub-function that has no device to publish yet.

    Its generation follows that of the record before. `device_id` names a device that exists already: it may have been
    allocated to a pod before the record was lost, and the kubelet is asked by this id. `remade` is kept within a boot.
    """
    old, wanted = context.seen.record, context.wanted
    return Record(
        uid=context.desired.uid,
        name=context.desired.name,
        boot_id=context.seen.boot_id,
        state=state,
        generation=old.generation + 1 if old else 1,
        claim=claim,
        resource=wanted.spec.resource,
        deletion=wanted.spec.deletion,
        device_id=device_id,
        remade=old is not None and old.remade and context.seen.this_boot,
    )


def reset_record(record: Record) -> Record:
    """Build the record of a sub-function whose device went away: nothing is published, identity and claim stay.

    `remade` is set if the device had been published: a pod may still have the device that went away.
    """
    return Record(
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
