"""The conditions in the status of each kind (KEP-1623), with the time of their last transition."""

import enum

import msgspec


class ConditionType(enum.StrEnum):
    """The types of conditions, in the order of a sub-function's life."""

    PLACED = "Placed"
    CREATED = "Created"
    ACTIVE = "Active"
    BOUND = "Bound"
    CONNECTED = "Connected"
    ALLOCATABLE = "Allocatable"
    READY = "Ready"
    IN_USE = "InUse"


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition; `last_transition_time` is RFC 3339 and changes only together with `status`."""

    type: str
    status: str
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class ConditionedStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A status with conditions, at most one of each type."""

    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: ConditionType) -> Condition | None:
        """Return the condition of one type, None where there is none."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


def date_condition(new: Condition, old: Condition | None, now: str) -> Condition:
    """Return `new` with its transition time: that of `old` while the status is the same, else `now` (RFC 3339, UTC)."""
    same = old is not None and old.status == new.status
    return msgspec.structs.replace(new, last_transition_time=old.last_transition_time if old and same else now)


def is_transition(old: Condition | None, new: Condition | None) -> bool:
    """Return whether a change of one condition deserves an Event: its status or its reason differs."""
    if new is None:
        return False
    return old is None or (old.status, old.reason) != (new.status, new.reason)
