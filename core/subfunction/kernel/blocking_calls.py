"""Runs writes that the kernel may block until a process closes a device, each in a thread that may be abandoned.

Unbinding `vhost_vdpa` or a VFIO driver and removing a mediated device wait, unkillably, until the process that has the
device open closes it, and keep only that device's lock meanwhile (6.12, seen in the VM). So no other device waits with
them, as long as nothing else is done to that device meanwhile: `BlockingCalls` runs one write at a time for each
device, and every verb that takes the device's lock must go through it.
"""

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Final

from subfunction.errors import HeldOpen

PATIENCE: Final = 0.5
"""Seconds that a caller waits; a write that does not block takes milliseconds."""


class _Attempt:
    """One write that has not ended yet."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.ended = threading.Event()
        self.error: BaseException | None = None


class BlockingCalls:
    """The threads of blocking writes, at most one for each device."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()  # held over dictionary operations only
        self._attempts: dict[str, _Attempt] = {}

    def run(self, device: str, operation: str, job: Callable[[], None]) -> None:
        """Run `job`, which writes to `device`, in a thread and wait for it up to the patience in seconds.

        What an abandoned job raises is dropped: the next observation shows the state of the device.

        Raises:
            HeldOpen: the job has not ended yet, or an earlier job of the same device has not.
            SubFunctionError: the job raised it in time.
        """
        attempt = _Attempt(operation)
        with self._lock:
            earlier = self._attempts.setdefault(device, attempt)
        if earlier is not attempt:
            raise self._held_open_error(device, earlier)
        # A daemon: a thread that waits in the kernel must not keep the process from ending.
        # The copied context names the caller's object in the thread's log lines too.
        work = functools.partial(contextvars.copy_context().run, self._work, device, attempt, job)
        threading.Thread(target=work, name=operation, daemon=True).start()
        if not attempt.ended.wait(self._patience):
            raise self._held_open_error(device, attempt)
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
    def _held_open_error(device: str, attempt: _Attempt) -> HeldOpen:
        return HeldOpen(
            f"{attempt.operation} waits until the process that has {device} open closes it",
            hint="End the process that has it open (`fuser -v` names it by its device node); the rest goes by itself.",
        )
