"""One resource name, one flavour on a node: a pod that asks for a name must know what it gets. Pure."""

from collections.abc import Iterable

from subfunction.api import SubFunction
from subfunction.errors import ResourceNameConflict


def uncontested(wanted: SubFunction, others: Iterable[SubFunction]) -> None:
    """Refuse a name that a sub-function of another flavour has; who was made first, or comes first by name, keeps it.

    Raises:
        ResourceNameConflict: it is another's.
    """
    rivals = (
        other
        for other in others
        if other.uid != wanted.uid
        and other.spec.resource == wanted.spec.resource
        and other.spec.flavour is not wanted.spec.flavour
    )
    rival = next((other for other in rivals if _rank(other) < _rank(wanted)), None)
    if rival is not None:
        raise ResourceNameConflict(
            f"{wanted.spec.resource} is the resource of {rival.name}, which is of flavour {rival.spec.flavour}",
            hint="Delete this one and make it with another spec.resourceName.",
        )


def _rank(of: SubFunction) -> tuple[bool, str]:
    return of.status.parent is None, of.name
