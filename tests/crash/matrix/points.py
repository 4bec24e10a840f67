"""All the points of a flavour, as they come out of a life that nobody disturbed; never listed by hand."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

from matrix.flavours import Flavour
from matrix.life import Life, Ordeal, Point

_DEEPEST: Final = 8
"""At most at which of its moments a second agent is killed."""


def points(flavour: Flavour, undisturbed: Iterable[Ordeal], sample: int) -> list[Point]:
    """List the points of each operation: every moment, each wait, and every `sample`-th moment once more, twice killed."""
    found: list[Point] = []
    for ordeal in undisturbed:
        seen: Counter[str] = Counter()
        once: list[Point] = []
        for moment in ordeal.moments:
            seen[moment] += 1
            once.append(Point(ordeal.operation, moment, seen[moment]))
        found += once
        found += [Point(ordeal.operation, held=held) for operation, held in flavour.waits if operation == ordeal.operation]
        if sample:
            twice = once[len(found) % sample :: sample]
            found += [
                Point(each.operation, each.moment, each.nth, again=1 + (index * 3 + 2) % _DEEPEST)
                for index, each in enumerate(twice)
            ]
    return found


def lives(flavour: Flavour, of: Iterable[Point]) -> list[Life]:
    """Share points out to lives, one an operation, so that setting up and restarting pays for several of them."""
    by_operation: dict[str, list[Point]] = {operation.name: [] for operation in flavour.operations}
    for point in of:
        by_operation[point.operation].append(point)
    rows = zip_longest(*by_operation.values())
    return [Life(flavour, tuple(point for point in row if point is not None)) for row in rows]


def left_over(life: Life, lived: Sequence[Ordeal]) -> Life | None:
    """Give the life that has those points to which one that went wrong did not come; None where it came to all."""
    done = {ordeal.operation for ordeal in lived}
    rest = tuple(point for point in life.points if point.operation not in done)
    return Life(life.flavour, rest) if rest else None
