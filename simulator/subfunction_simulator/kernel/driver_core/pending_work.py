"""The kernel begins work that ends later: a driver's removal waits for the users of its device."""

from collections.abc import Callable, Iterable


class PendingWork:
    """Pending work is over at once where nothing is in its way; what follows from it is asked for with `then`."""

    __slots__ = ("_next", "over")

    def __init__(self, *, over: bool = False) -> None:
        self.over = over
        self._next: list[Callable[[], None]] = []

    def end(self) -> None:
        """End the work, and do what waited for its end."""
        self.over = True
        following, self._next = self._next, []
        for act in following:
            act()

    def then(self, act: Callable[[], None]) -> None:
        """Do `act` when this is over, which may be now."""
        if self.over:
            act()
        else:
            self._next.append(act)

    def after(self, begin: "Callable[[], PendingWork]") -> "PendingWork":
        """Begin something else when this is over, and give the work that ends with it."""
        whole = PendingWork()
        self.then(lambda: begin().then(whole.end))
        return whole


def no_work() -> PendingWork:
    """Give work that is over."""
    return PendingWork(over=True)


def one_after_another(begins: Iterable[Callable[[], PendingWork]]) -> PendingWork:
    """Begin each when the one before is over."""
    whole = no_work()
    for begin in begins:
        whole = whole.after(begin)
    return whole


class Gate:
    """A gate is a lock of the kernel's: while work has shut it, requests wait in line and cannot be killed."""

    __slots__ = ("_shut",)

    def __init__(self) -> None:
        self._shut = 0

    @property
    def open(self) -> bool:
        """Say whether a request may pass."""
        return not self._shut

    def shut_during(self, work: PendingWork) -> None:
        """Hold the lock until `work` is over."""
        if not work.over:
            self._shut += 1
            work.then(self._reopen)

    def _reopen(self) -> None:
        self._shut -= 1
