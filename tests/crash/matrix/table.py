"""What came of it all, as a table of flavour and operation, and every failure by the name of its point."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator

from matrix.trial import Ordeal, Point


@dataclasses.dataclass(slots=True)
class Row:
    """One operation of one story; `points` is how many there are."""

    points: int = 0
    killed: int = 0
    recovered: int = 0
    worst: float = 0.0

    def take(self, ordeal: Ordeal) -> None:
        """Count one more that was tried."""
        self.killed += ordeal.killed
        self.recovered += ordeal.killed and not ordeal.complaints
        self.worst = max(self.worst, ordeal.seconds)


@dataclasses.dataclass(slots=True)
class Table:
    """The rows, and what failed."""

    rows: dict[tuple[str, str], Row] = dataclasses.field(default_factory=lambda: defaultdict(Row))
    failures: list[Ordeal] = dataclasses.field(default_factory=list)

    def expect(self, story: str, points: Iterable[Point]) -> None:
        """Take note of what is to be tried."""
        for point in points:
            self.rows[story, point.operation].points += 1

    def take(self, ordeals: Iterable[Ordeal]) -> None:
        """Count what came of a life; an operation that was not disturbed is no point, but can fail all the same."""
        for ordeal in ordeals:
            if ordeal.point is not None:
                self.rows[ordeal.story, ordeal.operation].take(ordeal)
            if ordeal.complaints:
                self.failures.append(ordeal)

    @property
    def total(self) -> Row:
        """All rows in one."""
        rows = self.rows.values()
        return Row(
            sum(row.points for row in rows),
            sum(row.killed for row in rows),
            sum(row.recovered for row in rows),
            max((row.worst for row in rows), default=0.0),
        )

    def lines(self) -> Iterator[str]:
        """Print it."""
        for ordeal in self.failures:
            yield f"FAILED {ordeal.story}/{ordeal.point or ordeal.operation}"
            yield from (f"    {line}" for complaint in ordeal.complaints for line in complaint.splitlines())
        yield f"{'story':<14} {'operation':<10} {'points':>7} {'killed':>7} {'recovered':>10} {'worst s':>8}"
        for (story, operation), row in [*self.rows.items(), (("all", ""), self.total)]:
            figures = f"{row.points:>7} {row.killed:>7} {row.recovered:>10} {row.worst:>8.2f}"
            yield f"{story:<14} {operation:<10} {figures}"
