"""A test orders faults: what fails next, what hangs, what is torn or never answered."""

import dataclasses
import enum
import threading
from collections import deque
from typing import Self

from subfunction.kernel.address import Handle
from subfunction_simulator.kernel.netlink.wire import Refusal


class Operation(enum.StrEnum):
    """These operations can be made to fail."""

    PORT_NEW = "port-new"
    PORT_GET = "port-get"
    PORT_DELETE = "port-delete"
    SET_MAC = "set-mac"
    SET_CAPABILITIES = "set-capabilities"
    SET_EVENT_QUEUES = "set-event-queues"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    PROBE = "probe"
    PARAMETER_GET = "parameter-get"
    PARAMETER_SET = "parameter-set"
    RELOAD = "reload"
    ESWITCH_SET = "eswitch-set"
    RATE_SET = "rate-set"
    SET_LINK = "set-link"
    VDPA_REQUEST = "vdpa-request"
    VDPA_ADD = "vdpa-add"
    VDPA_DELETE = "vdpa-delete"
    VDPA_PROBE = "vdpa-probe"
    """Of vhost_vdpa or virtio_vdpa."""
    MEDIATED_CREATE = "mdev-create"
    MEDIATED_REMOVE = "mdev-remove"
    VFIO_PROBE = "vfio-probe"
    """Of the vfio driver of a virtual function."""


@dataclasses.dataclass(slots=True)
class Hang:
    """Requests that touch `handle` wait until the hang is released, or for `seconds` each."""

    handle: Handle
    seconds: float | None
    _released: threading.Event = dataclasses.field(default_factory=threading.Event)
    _waiting: threading.Event = dataclasses.field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait as a request does."""
        self._waiting.set()
        self._released.wait(self.seconds)

    def wait_for_victim(self, timeout: float) -> bool:
        """Wait until a request hangs here; False when none came in time."""
        return self._waiting.wait(timeout)

    def release(self) -> None:
        """Let every waiting request go on."""
        self._released.set()

    @property
    def over(self) -> bool:
        """Say whether it was released."""
        return self._released.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Faults:
    """The faults are ordered, and not yet delivered."""

    def __init__(self) -> None:
        self._failures: dict[Operation, deque[Refusal]] = {}
        self._hangs: list[Hang] = []
        self._torn_dumps = 0
        self._unanswered = 0

    def fail_next(self, operation: Operation, errno: int, text: str = "", *, times: int = 1) -> None:
        """Let the next `times` such operations fail; `text` is the whole extended ack."""
        self._failures.setdefault(operation, deque()).extend(Refusal(errno, text) for _ in range(times))

    def tear_next_dump(self, *, times: int = 1) -> None:
        """Mark the next dumps as interrupted (NLM_F_DUMP_INTR)."""
        self._torn_dumps += times

    def swallow_next(self, *, times: int = 1) -> None:
        """Run the next requests, and never answer."""
        self._unanswered += times

    def hang(self, handle: Handle, *, seconds: float | None = None) -> Hang:
        """Let requests that touch `handle` wait; others are answered meanwhile."""
        hang = Hang(handle, seconds)
        self._hangs.append(hang)
        return hang

    def strike(self, operation: Operation) -> None:
        """Fail here, if that was ordered."""
        waiting = self._failures.get(operation)
        if waiting:
            raise waiting.popleft()

    def torn(self) -> bool:
        """Say whether this dump is to be torn."""
        self._torn_dumps, torn = max(self._torn_dumps - 1, 0), self._torn_dumps > 0
        return torn

    def swallows(self) -> bool:
        """Say whether this request stays unanswered."""
        self._unanswered, swallows = max(self._unanswered - 1, 0), self._unanswered > 0
        return swallows

    def hangs(self, handle: Handle | None) -> list[Hang]:
        """Give the hangs that a request on `handle`, or on every instance, runs into."""
        self._hangs = [hang for hang in self._hangs if not hang.over]
        return [hang for hang in self._hangs if handle is None or hang.handle == handle]

    def release_all(self) -> None:
        """End every hang."""
        for hang in self._hangs:
            hang.release()
