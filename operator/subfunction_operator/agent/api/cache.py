"""This node's SubFunctions as last seen: from the watch, from a LIST and from the answers to our own writes."""

from collections import Counter
from typing import Final

from subfunction.api.conditions import ConditionType
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Phase, SubFunction
from subfunction.process.metrics import OTHER, Counts, known_reason
from subfunction_operator.kube.store import Store

_PHASES: Final = frozenset(str(phase) for phase in Phase)


class SubFunctionCache(Store[SubFunction]):
    """A store by uid: a record on disk outlives its object, and an object of the same name is another one."""

    def __init__(self) -> None:
        super().__init__(key=lambda found: found.uid)

    def list(self) -> tuple[SubFunction, ...]:
        """Return all; any thread may call this."""
        return tuple(self.items.copy().values())

    def name(self, uid: str) -> str:
        """Return the name of one, or its uid where it is not known."""
        known = self.get(uid)
        return uid if known is None else known.name

    def flavour(self, uid: str) -> str:
        """Return the flavour of one; any thread may call this."""
        known = self.get(uid)
        return OTHER if known is None else known.spec.flavour

    def status_numbers(self) -> frozenset[tuple[str, int]]:
        """Return parent and number of each sub-function that a status names."""
        seen = ((found.status.parent, found.status.number) for found in self)
        return frozenset((parent, number) for parent, number in seen if parent is not None and number is not None)

    def overwrite(self, uid: str, found: SubFunction | None) -> SubFunction | None:
        """Store what the server answers now for a name; another object, or none, means that `uid` is gone."""
        if found is not None and found.uid == uid:
            self.upsert_answer(found)
            return found
        if (known := self.get(uid)) is not None:
            self.delete_known(known)
        return None

    def count_phases(self) -> Counts:
        """Count sub-functions by flavour and phase."""
        return Counter((each.spec.flavour, _phase(each.status.phase)) for each in self.list())

    def count_not_ready(self) -> Counts:
        """Count those that are not Ready, by reason; one without a status is Pending."""
        ready = (each.status.condition(ConditionType.READY) for each in self.list())
        unready = (each for each in ready if each is None or each.status != "True")
        return Counter((known_reason(each.reason) if each else Reason.PENDING,) for each in unready)


def differs_in_spec(found: SubFunction, known: SubFunction) -> bool:
    """Return whether one of the two asks for something that the other does not."""
    return (found.metadata.generation, found.deleting) != (known.metadata.generation, known.deleting)


def _phase(text: str) -> str:
    return Phase.PENDING if not text else text if text in _PHASES else OTHER
