"""What the kernel announces of its devices: added, removed, bound to a driver, unbound.

The only source that tells of vDPA and mediated devices, and of a probe that ended (`bind`). Only the kernel's own
messages are heard, not what udev makes of them.
"""

import dataclasses
from collections.abc import AsyncGenerator, Callable

from subfunction.errors import MalformedReply
from subfunction.kernel.announcements import Lost, Source, announcements
from subfunction.kernel.transport import NetlinkProtocol, Socket, Transport
from subfunction.kernel.uapi.netlink import UEVENT_KERNEL_GROUP


@dataclasses.dataclass(frozen=True, slots=True)
class Uevent:
    """One event of a device: its directory relative to sysfs, its bus or class, the driver it is bound to.

    `action` is the kernel's word: add, remove, change, bind, unbind, move, online, offline.
    """

    action: str
    path: str
    subsystem: str
    driver: str | None = None

    @property
    def name(self) -> str:
        """The device's name."""
        return self.path.rpartition("/")[2]


def uevents(transport: Transport, *, reopen_after: float = 1.0) -> AsyncGenerator[Uevent | Lost, None]:
    """Yield the kernel's events for ever (`udevadm monitor --kernel`); see `announcements`.

    Raises:
        FamilyMissing: this kernel has no such socket, or no simulated one listens.
        KernelBusy: a simulated kernel did not answer.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[Uevent]]]:
        return transport.subscribe(UEVENT_KERNEL_GROUP, NetlinkProtocol.UEVENT), read

    return announcements(Source("uevent", join), reopen_after=reopen_after)


def read(datagram: bytes) -> list[Uevent]:
    """Read the event of one datagram: `add@/devices/...`, then `KEY=value`, each ended by a NUL.

    Raises:
        MalformedReply: the bytes are no uevent.
    """
    try:
        head, *lines = datagram.decode().split("\0")
    except UnicodeDecodeError as error:
        raise MalformedReply(f"a uevent of {len(datagram)} bytes is no text: {error}") from error
    action, at, path = head.partition("@")
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if not (action and at and path.startswith("/") and path.strip("/")):
        raise MalformedReply(f"a uevent begins with {head[:80]!r} and not with action@/path")
    if (values.get("ACTION"), values.get("DEVPATH")) != (action, path):
        raise MalformedReply(f"a uevent of {action}@{path} speaks of another device further on")
    return [Uevent(action, path.strip("/"), values.get("SUBSYSTEM", ""), values.get("DRIVER") or None)]
