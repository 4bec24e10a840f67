"""Writes that the kernel may keep until somebody closes a device: each in a thread of its own, which is left behind.

Unbinding `vhost_vdpa` or a VFIO driver and removing a mediated device wait, unkillably, for whoever has the device
open, under that device's own lock alone (6.12, seen in the VM). So nobody else waits with them, as long as nothing else
is asked of that device meanwhile: its turn is kept here, and every other verb of it goes through the same door.
"""

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Final

from subfunction.errors import HeldOpen

PATIENCE: Final = 0.5
"""Seconds that a caller waits itself; a write that nobody holds up takes milliseconds."""


class _Attempt:
    """One write on its way."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.ended = threading.Event()
        self.error: BaseException | None = None


class Detached:
    """The threads that wait for holders, one a device at most."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()  # held over dictionary operations only
        self._attempts: dict[str, _Attempt] = {}

    def run(self, device: str, operation: str, job: Callable[[], None]) -> None:
        """Run `job`, which does something to `device`, and wait a moment for it.

        What a left-behind job raises is nobody's: the next look sees what became of the device.

        Raises:
            HeldOpen: it has not come back yet, or an earlier one of the same device has not.
            SubFunctionError: what the job raised in time.
        """
        attempt = _Attempt(operation)
        with self._lock:
            earlier = self._attempts.setdefault(device, attempt)
        if earlier is not attempt:
            raise self._held(device, earlier)
        # A daemon: a thread that waits in the kernel must not keep the process from ending.
        # What the caller's log lines are about, the thread's are about too.
        work = functools.partial(contextvars.copy_context().run, self._work, device, attempt, job)
        threading.Thread(target=work, name=operation, daemon=True).start()
        if not attempt.ended.wait(self._patience):
            raise self._held(device, attempt)
        if attempt.error is not None:
            raise attempt.error

    def _work(self, device: str, attempt: _Attempt, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # noqa: BLE001  # carried to the caller, whatever it is
            attempt.error = error
        finally:
            with self._lock:
                del self._attempts[device]
            attempt.ended.set()

    @staticmethod
    def _held(device: str, attempt: _Attempt) -> HeldOpen:
        return HeldOpen(
            f"{attempt.operation} waits until whoever has {device} open closes it",
            hint="End the process that has it open (`fuser -v` names it by its device node); the rest goes by itself.",
        )
