"""One resource name, one flavour on a node: a pod that asks for a name must know what it gets. Pure."""

from collections.abc import Iterable

from subfunction.api import SubFunction
from subfunction.errors import ResourceNameConflict


def uncontested(wanted: SubFunction, others: Iterable[SubFunction]) -> None:
    """Refuse a name that is another flavour's: that of the one that was made first, or comes first by name.

    Raises:
        ResourceNameConflict: it is another's.
    """
    named = [other for other in others if other.spec.resource == wanted.spec.resource]
    first = min(named, key=_rank, default=wanted)
    if first.spec.flavour is not wanted.spec.flavour:
        raise ResourceNameConflict(
            f"{wanted.spec.resource} is the resource of {first.name}, which is of flavour {first.spec.flavour}",
            hint="Delete this one and make it with another spec.resourceName.",
        )


def _rank(of: SubFunction) -> tuple[bool, str]:
    return of.status.parent is None, of.name
