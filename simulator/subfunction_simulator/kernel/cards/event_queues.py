"""mlx5 spreads the events of its functions over eight queues, by the function's id."""

from collections.abc import Callable

from subfunction_simulator.kernel.driver_core.pending_work import PendingWork, no_work

_QUEUES = 8


class EventQueues:
    """What the firmware asks for is done in turn: a function that cannot go holds up the others of its queue."""

    def __init__(self) -> None:
        self._queues = [no_work()] * _QUEUES

    def put(self, slot: int, begin: Callable[[], PendingWork]) -> None:
        """Begin something for the function of a slot, once its queue is free."""
        queue = slot % _QUEUES
        self._queues[queue] = self._queues[queue].after(begin)
