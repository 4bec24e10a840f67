"""Labels and annotations of a pool's sub-functions: the template's come and go with it, those of others stay. Pure.

Which are the template's is written on each sub-function, in an annotation: what is taken out of the template is known
by that alone.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api import GROUP
from subfunction.api_pool import POOL_LABEL, SubFunctionPool
from subfunction_operator.controller.member import Member, Pairs

FROM_TEMPLATE: Final = f"{GROUP}/from-template"
"""The annotation with the keys that the template gave; absent where it gave none."""


class _Keys(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys of labels and annotations."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Marks:
    """Labels and annotations."""

    labels: Pairs
    annotations: Pairs

    @classmethod
    def of(cls, pool: SubFunctionPool) -> "Marks":
        """Give what a new sub-function of a pool carries."""
        given = pool.spec.template.metadata
        keys = _Keys(tuple(sorted(given.labels)), tuple(sorted(given.annotations)))
        note = {FROM_TEMPLATE: msgspec.json.encode(keys).decode()} if keys != _Keys() else {}
        return cls(
            frozenset({**given.labels, POOL_LABEL: pool.name}.items()), frozenset({**given.annotations, **note}.items())
        )

    def on(self, member: Member) -> "Marks":
        """Give what a sub-function that exists should carry: these, and what others gave it."""
        given = _given(member)
        return Marks(
            _merged(member.labels, given.labels, self.labels),
            _merged(member.annotations, (*given.annotations, FROM_TEMPLATE), self.annotations),
        )


def _merged(had: Pairs, given: tuple[str, ...], wanted: Pairs) -> Pairs:
    kept = {key: value for key, value in had if key not in given}
    return frozenset((kept | dict(wanted)).items())


def _given(member: Member) -> _Keys:
    note = dict(member.annotations).get(FROM_TEMPLATE, "{}")
    try:
        return msgspec.json.decode(note, type=_Keys)
    except msgspec.DecodeError:
        return _Keys()  # somebody wrote something else there: nothing is known to be the template's
