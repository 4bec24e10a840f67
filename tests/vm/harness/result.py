"""How a command in a guest ended."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """Its code, and what it wrote."""

    code: int
    stdout: str
    stderr: str
    late: bool = False
    """Killed at its deadline."""
