"""What every story in the matrix is made of: a point at which somebody is killed, and what came of it."""

import dataclasses
from typing import Protocol, Self

from matrix.zygote import Zygote


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """Where a program is killed during an operation: at a moment, or while the kernel takes its time (`held`)."""

    operation: str
    moment: str = ""
    nth: int = 1
    held: str = ""
    again: int = 0
    """At which of its first moments the second one is killed too; 0 is not."""

    def __str__(self) -> str:
        """Name it as the table does, and as `--point` takes it."""
        where = f"while the {self.held} waits" if self.held else f"{self.moment}#{self.nth}"
        return f"{self.operation}/{where}" + (f"+{self.again}" if self.again else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Ordeal:
    """What became of one operation: where it was killed, how long recovery took, and what is wrong."""

    story: str
    operation: str
    point: Point | None
    killed: bool = False
    seconds: float = 0.0
    """From the start of the last process until all was as it must be."""
    complaints: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    """What was done for the operation."""


class Story(Protocol):
    """Operations one after the other, each with a point at which it is disturbed, or none."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of its operations, in their order."""

    @property
    def waits(self) -> tuple[tuple[str, str], ...]:
        """In which operations the firmware takes its time, and with what."""

    @property
    def points(self) -> tuple[Point, ...]:
        """Where it is disturbed, at most once an operation."""

    def disturbed(self, points: tuple[Point, ...]) -> Self:
        """Give the same story, disturbed at these points."""

    async def lived(self, zygote: Zygote) -> list[Ordeal]:
        """Live it, up to the first operation that goes wrong."""
