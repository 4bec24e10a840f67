"""`python -m matrix`: kill the agent at every point of every flavour's life, and judge what becomes of it."""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from cyclopts import App, Parameter

from matrix.crew import Crew, crew
from matrix.flavours import FLAVOURS
from matrix.life import Life
from matrix.plugin import PodLife
from matrix.points import left_over, points, shared_out
from matrix.stage import sweep
from matrix.table import Table
from matrix.trial import Point, Story

_POD: Final = PodLife()
STORIES: Final[Mapping[str, Story]] = {**{name: Life(flavour) for name, flavour in FLAVOURS.items()}, _POD.name: _POD}

app = App(name="crash-matrix", help_format="plaintext", version_flags=())


@app.default
def matrix(
    *,
    only: Annotated[tuple[str, ...], Parameter(help=f"Stories to try: {', '.join(STORIES)}.")] = (),
    point: Annotated[str, Parameter(help="Only points whose name contains this, such as `deleted/after Deact`.")] = "",
    jobs: Annotated[int, Parameter(help="Processes at once; most of the time each waits.")] = 4,
    sample: Annotated[int, Parameter(help="Kill the second agent too at every how-manieth moment; 0 never.")] = 4,
    listing: Annotated[bool, Parameter(name="--list", negative="", help="List the points and kill nobody.")] = False,
) -> int:
    """Kill the agent before and after every effect it has, start another, and compare kernel, files and objects.

    The agent is the real program in a process of its own, on a simulated kernel that is served by a socket and a sysfs
    tree, before an API server and a kubelet. The points come out of a life that nobody disturbs: each step of the
    executor and each write to the API server or the disk has a moment before and one after; a file has one more, when
    it is written and not yet renamed. Beyond these the agent is killed while the firmware takes its time, and at some
    points its successor is killed as well. The device plugin is killed around each write of its ledger.

    Every failure is printed with its point's name, for `--point`. The exit code is 1 if there is any.
    """
    unknown = set(only) - set(STORIES)
    if unknown:
        sys.stderr.write(f"no story {', '.join(sorted(unknown))}; there are {', '.join(STORIES)}\n")
        return 2
    began = time.monotonic()
    sweep()
    table = Table()
    with crew(jobs) as hands:
        found = _found(hands, only or tuple(STORIES), sample, table)
        chosen = {name: [each for each in of if point in f"{name}/{each}"] for name, of in found.items()}
        if listing:
            sys.stdout.writelines(f"{name}/{each}\n" for name, of in chosen.items() for each in of)
        else:
            for name, of in chosen.items():
                table.expect(name, of)
            stories = [story for name, of in chosen.items() for story in shared_out(STORIES[name], of)]
            for ordeals in hands.live(stories, left_over):
                table.take(ordeals)
                _show(table)
    if not listing or table.failures:
        sys.stdout.writelines(f"{line}\n" for line in table.lines())
        sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return int(bool(table.failures) or table.total.killed != table.total.points)


def _found(hands: Crew, names: Iterable[str], sample: int, table: Table) -> dict[str, list[Point]]:
    """Let each story be lived undisturbed, and take the points from that."""
    found: dict[str, list[Point]] = {}
    for ordeals in hands.live([STORIES[name] for name in names], lambda _, __: ()):
        table.take(ordeals)
        name = ordeals[0].story
        # What goes wrong undisturbed would go wrong at every point.
        sound = not any(ordeal.complaints for ordeal in ordeals)
        found[name] = points(STORIES[name], ordeals, sample if name in FLAVOURS else 0) if sound else []
    return {name: found[name] for name in names}


def _show(table: Table) -> None:
    """Say how far it is, to a person who watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{table.total.killed} killed, {len(table.failures)} failed ")


if __name__ == "__main__":
    sys.exit(app())
