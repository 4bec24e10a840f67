"""This node's SubFunctions as last seen: the watch, a LIST and the answers to our own writes all tell of them."""

import dataclasses
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from subfunction.api import SubFunction
from subfunction.metrics import OTHER


@dataclasses.dataclass(slots=True)
class Objects:
    """What is known, by uid; each news is taken over unless what is known is as new."""

    listed: bool = False
    """Whether there was a LIST: before it, nothing may be concluded from what is not known."""
    _known: dict[str, SubFunction] = dataclasses.field(default_factory=dict)

    def all(self) -> tuple[SubFunction, ...]:
        """Give all; any thread may ask."""
        return tuple(self._known.copy().values())

    def uids(self) -> frozenset[str]:
        """Give the uids of all."""
        return frozenset(self._known)

    def get(self, uid: str) -> SubFunction | None:
        """Give one, None where it is not known."""
        return self._known.get(uid)

    def name(self, uid: str) -> str:
        """Give the name of one, or its uid."""
        known = self._known.get(uid)
        return uid if known is None else known.name

    def flavour(self, uid: str) -> str:
        """Give the flavour of one; any thread may ask."""
        known = self._known.get(uid)
        return OTHER if known is None else known.spec.flavour

    def named(self) -> frozenset[tuple[str, int]]:
        """Give parent and number of each sub-function that an object names."""
        seen = ((found.status.parent, found.status.number) for found in self._known.values())
        return frozenset((parent, number) for parent, number in seen if parent is not None and number is not None)

    def learn(self, found: SubFunction) -> bool:
        """Take over news of one, and say whether it was news: a LIST or an echo may come late."""
        known = self._known.get(found.uid)
        if known is not None and not _newer(found, known):
            return False
        self._known[found.uid] = found
        return True

    def correct(self, uid: str, found: SubFunction | None) -> SubFunction | None:
        """Take over what the server says now of a name; another object, or none, is not the one of this uid."""
        if found is None or found.uid != uid:
            self.forget(uid)
            return None
        self._known[uid] = found
        return found

    def take_list(self, found: Sequence[SubFunction], before: AbstractSet[str]) -> None:
        """Take over a LIST; of what was known `before` it was asked for, the rest is gone."""
        # What came to be known while the list was made may be newer than the list.
        for uid in before - {each.uid for each in found}:
            self.forget(uid)
        for each in found:
            self.learn(each)
        self.listed = True

    def forget(self, uid: str) -> None:
        """Know nothing of one any more."""
        self._known.pop(uid, None)


def asks_otherwise(found: SubFunction, known: SubFunction) -> bool:
    """Say whether one of the two asks for something that the other does not."""
    return (found.metadata.generation, found.deleting) != (known.metadata.generation, known.deleting)


def _newer(found: SubFunction, known: SubFunction) -> bool:
    """Compare resourceVersions, numbers with every server of today; where they are not, what comes is news."""
    ours, theirs = known.metadata.resource_version, found.metadata.resource_version
    return int(theirs) > int(ours) if ours.isdecimal() and theirs.isdecimal() else ours != theirs
