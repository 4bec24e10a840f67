"""Checks that a resource name stands for one flavour on a node, so that a pod knows what it gets. Pure."""

from collections.abc import Iterable

from subfunction.api.subfunction import SubFunction
from subfunction.errors import ResourceNameConflict


def require_resource_name(wanted: SubFunction, others: Iterable[SubFunction]) -> None:
    """Check that the resource name is not another flavour's.

    The flavour is that of the first SubFunction with this resource name: one whose status has a parent comes before one
    without, and among equals the object's name decides.

    Raises:
        ResourceNameConflict: the name belongs to another flavour.
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
