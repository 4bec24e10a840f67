"""Objects that may be gone by now."""

from typing import Any

from components.controlplane import ControlPlane
from harness.errors import CommandFailed


def found(plane: ControlPlane, path: str) -> Any:
    """The object at a path; None where there is none."""
    return _unless_gone(plane, "GET", path)


def delete(plane: ControlPlane, path: str, *, at_once: bool = False) -> None:
    """Have it deleted, with the grace that it asks for, or without."""
    _unless_gone(plane, "DELETE", path, {"gracePeriodSeconds": 0} if at_once else None)


def _unless_gone(plane: ControlPlane, method: str, path: str, body: Any = None) -> Any:
    try:
        return plane.request(method, path, body)
    except CommandFailed as error:
        if error.code != 404:
            raise
        return None
