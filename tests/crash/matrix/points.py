"""All the points of a story, as they come out of one that nobody disturbed; never listed by hand."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final, TypeVar

from matrix.trial import Ordeal, Point, Story

_DEEPEST: Final = 8
"""At most at which of its moments a second process is killed."""

S = TypeVar("S", bound=Story)


def points(story: Story, undisturbed: Iterable[Ordeal], sample: int) -> list[Point]:
    """List every moment of each operation, each wait, and every `sample`-th moment once more with a second kill."""
    found: list[Point] = []
    for ordeal in undisturbed:
        seen: Counter[str] = Counter()
        once: list[Point] = []
        for moment in ordeal.moments:
            seen[moment] += 1
            once.append(Point(ordeal.operation, moment, seen[moment]))
        found += once
        waits = [held for operation, held in story.waits if operation == ordeal.operation]
        found += [Point(ordeal.operation, held=held) for held in waits]
        twice = once[len(found) % sample :: sample] if sample else []
        for index, each in enumerate(twice):
            found.append(Point(each.operation, each.moment, each.nth, again=1 + (index * 3 + 2) % _DEEPEST))
    return found


def shared_out(story: S, of: Iterable[Point]) -> list[S]:
    """Share points out, one an operation, so that setting up and restarting pays for several of them."""
    by_operation: dict[str, list[Point]] = {operation: [] for operation in story.operations}
    for point in of:
        by_operation[point.operation].append(point)
    rows = zip_longest(*by_operation.values())
    return [story.disturbed(tuple(point for point in row if point is not None)) for row in rows]


def left_over(story: S, lived: Sequence[Ordeal]) -> list[S]:
    """Give the story with those points to which one that went wrong did not come; none where it came to all."""
    done = {ordeal.operation for ordeal in lived}
    rest = tuple(point for point in story.points if point.operation not in done)
    return [story.disturbed(rest)] if rest else []
