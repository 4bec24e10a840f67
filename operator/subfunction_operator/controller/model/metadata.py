"""Labels and annotations of a pool's sub-functions: the template's follow the template, those of others stay. Pure.

An annotation on each sub-function lists the keys that came from the template: by it alone is a key known that the
template no longer has.
"""

import dataclasses
from typing import Final

import msgspec

from subfunction.api.pool import POOL_LABEL, SubFunctionPool
from subfunction.api.subfunction import GROUP
from subfunction_operator.controller.model.subfunction import CachedSubFunction, Pairs

FROM_TEMPLATE: Final = f"{GROUP}/from-template"
"""The annotation with the keys that came from the template; absent where there are none."""


class _Keys(msgspec.Struct, frozen=True, omit_defaults=True):
    """Keys of labels and annotations."""

    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class AppliedMetadata:
    """Labels and annotations as a pool wants them on a sub-function."""

    labels: Pairs
    annotations: Pairs

    @classmethod
    def of(cls, pool: SubFunctionPool) -> "AppliedMetadata":
        """Build the metadata of a new sub-function of a pool."""
        given = pool.spec.template.metadata
        keys = _Keys(tuple(sorted(given.labels)), tuple(sorted(given.annotations)))
        note = {FROM_TEMPLATE: msgspec.json.encode(keys).decode()} if keys != _Keys() else {}
        return cls(
            frozenset({**given.labels, POOL_LABEL: pool.name}.items()), frozenset({**given.annotations, **note}.items())
        )

    def on(self, member: CachedSubFunction) -> "AppliedMetadata":
        """Build the metadata for a sub-function that exists: this, and what others added to it."""
        given = _read_keys(member)
        return AppliedMetadata(
            _merge(member.labels, given.labels, self.labels),
            _merge(member.annotations, (*given.annotations, FROM_TEMPLATE), self.annotations),
        )


def _merge(had: Pairs, given: tuple[str, ...], wanted: Pairs) -> Pairs:
    kept = {key: value for key, value in had if key not in given}
    return frozenset((kept | dict(wanted)).items())


def _read_keys(member: CachedSubFunction) -> _Keys:
    note = dict(member.annotations).get(FROM_TEMPLATE, "{}")
    try:
        return msgspec.json.decode(note, type=_Keys)
    except msgspec.DecodeError:
        return _Keys()  # overwritten by another client: no key is known to be the template's
