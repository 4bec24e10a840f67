"""`python -m matrix`: kill the agent at every point of every flavour's life, and judge what the next one makes of it."""

import sys
import time
from collections.abc import Iterable
from typing import Annotated

from cyclopts import App, Parameter

from matrix.crew import Crew, crew
from matrix.flavours import FLAVOURS
from matrix.life import Life, Ordeal, Point
from matrix.points import left_over, lives, points
from matrix.table import Table

app = App(name="crash-matrix", help=__doc__, help_format="plaintext")


@app.default
def matrix(
    *,
    only: Annotated[tuple[str, ...], Parameter(help=f"Flavours to try: {', '.join(FLAVOURS)}.")] = (),
    point: Annotated[str, Parameter(help="Only points whose name contains this, such as `deleted/after Deact`.")] = "",
    jobs: Annotated[int, Parameter(help="Processes at once.")] = 2,
    sample: Annotated[int, Parameter(help="Kill the second agent too at every how-manieth moment; 0 never.")] = 4,
    listing: Annotated[bool, Parameter(name="--list", negative="", help="List the points and kill nobody.")] = False,
) -> int:
    """Kill the agent before and after every effect it has, start another, and compare kernel, files and objects.

    The agent is the real program in a process of its own, on a simulated kernel that is served by a socket and a sysfs
    tree, before an API server and a kubelet. The points come out of a life that nobody disturbs: each step of the
    executor and each write to the API server or the disk has a moment before and one after. Beyond these the agent is
    killed while the firmware takes its time, and at some points its successor is killed as well.
    """
    unknown = set(only) - set(FLAVOURS)
    if unknown:
        sys.stderr.write(f"no flavour {', '.join(sorted(unknown))}; there are {', '.join(FLAVOURS)}\n")
        return 2
    began = time.monotonic()
    table = Table()
    with crew(jobs) as hands:
        found = _found(hands, only or tuple(FLAVOURS), sample, table)
        chosen = {name: [each for each in of if point in f"{name}/{each}"] for name, of in found.items()}
        if listing:
            sys.stdout.writelines(f"{name}/{each}\n" for name, of in chosen.items() for each in of)
        else:
            tasks = [life for name, of in chosen.items() for life in lives(FLAVOURS[name], of)]
            for name, of in chosen.items():
                table.expect(name, of)
            for ordeals in hands.all(tasks, _rest):
                table.take(ordeals)
                _show(table)
    if not listing or table.failures:
        sys.stdout.writelines(f"{line}\n" for line in table.lines())
        sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")
    return int(bool(table.failures))


def _found(hands: Crew, names: Iterable[str], sample: int, table: Table) -> dict[str, list[Point]]:
    """Let each flavour live undisturbed, and take the points from that."""
    found: dict[str, list[Point]] = {}
    for ordeals in hands.all([Life(FLAVOURS[name]) for name in names], lambda _, __: ()):
        table.take(ordeals)
        name = ordeals[0].flavour
        found[name] = points(FLAVOURS[name], ordeals, sample)
    return {name: found[name] for name in names}


def _rest(life: Life, ordeals: list[Ordeal]) -> list[Life]:
    rest = left_over(life, ordeals)
    return [] if rest is None else [rest]


def _show(table: Table) -> None:
    """Say how far it is, to a person who watches."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{table.total.killed} killed, {len(table.failures)} failed ")


if __name__ == "__main__":
    sys.exit(app())
