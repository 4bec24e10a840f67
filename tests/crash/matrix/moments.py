"""Moments: what comes right before or right after an effect, written down, and one of them the end of the process.

Nothing is caught and nothing tidied up then: the process sends itself SIGKILL in the very thread that has the effect.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec


class Order(msgspec.Struct, frozen=True):
    """When to die: at the `nth` time of a moment (from 1) since the order was given; an empty one is any."""

    moment: str
    nth: int


class Orders:
    """The file in which an end is ordered, and the one in which the moments are written down."""

    def __init__(self, folder: Path, name: str) -> None:
        self._order = folder / f"{name}.order"
        self._moments = folder / f"{name}.moments"

    def give(self, order: Order | None) -> None:
        """Order the end of whoever comes to it first; None takes the order back."""
        if order is None:
            self._order.unlink(missing_ok=True)
            return
        temporary = self._order.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(order))
        temporary.rename(self._order)

    def given(self) -> Order | None:
        """Read the order that stands."""
        try:
            return msgspec.json.decode(self._order.read_bytes(), type=Order)
        except FileNotFoundError:
            return None

    def note(self, moment: str) -> None:
        """Write a moment down."""
        with self._moments.open("a", encoding="utf-8") as file:
            file.write(f"{moment}\n")

    def noted(self) -> list[str]:
        """Give all moments so far."""
        try:
            return self._moments.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


class Reaper:
    """Hears of each moment of its own process, and ends it as ordered."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._lock = threading.Lock()
        self._order: Order | None = None
        self._count = 0

    def moment(self, moment: str) -> None:
        """Write a moment down, and perhaps come no further."""
        with self._lock:
            order = self._orders.given()
            if order != self._order:
                self._order, self._count = order, 0
            self._orders.note(moment)
            if order is not None and order.moment in {"", moment}:
                self._count += 1
                if self._count == order.nth:
                    os.kill(os.getpid(), signal.SIGKILL)


def hear_of_files(moment: Callable[[str], None], folders: Mapping[Path, str]) -> None:
    """Make moments of what this process does to the files of some folders, for as long as it lives.

    Python itself tells of each rename, removal and opening before it does it (PEP 578), so that whoever writes needs no
    seam: `renaming` comes when a file is whole under its temporary name, `syncing` when it has its own.
    """
    names = {str(folder): name for folder, name in folders.items()}

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename":
            path = Path(os.fsdecode(arguments[1]))  # type: ignore[arg-type]  # an audit hook's arguments are any object
            verb = "renaming"
        elif event == "os.remove":
            path, verb = Path(os.fsdecode(arguments[0])), "removing"  # type: ignore[arg-type]  # as above
        elif event == "open" and isinstance(arguments[0], str | Path) and str(arguments[0]) in names:
            moment(f"syncing {names[str(arguments[0])]}")
            return
        else:
            return
        if path.suffix == ".json" and str(path.parent) in names:
            moment(f"{verb} {names[str(path.parent)]}")

    sys.addaudithook(hear)
