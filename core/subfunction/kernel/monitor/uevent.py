"""Monitors uevents: devices that are added, removed, bound to a driver or unbound.

No other source reports vDPA and mediated devices, or the end of a probe (`bind`). Only the kernel's own messages are
received, not those that udev sends on.
"""

import dataclasses
from collections.abc import AsyncGenerator, Callable

from subfunction.errors import MalformedReply
from subfunction.kernel.monitor.multicast import Overrun, Source, receive_events
from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket, Transport
from subfunction.kernel.uapi.netlink import UEVENT_KERNEL_GROUP


@dataclasses.dataclass(frozen=True, slots=True)
class Uevent:
    """One event of a device: its directory relative to sysfs, its bus or class, the driver bound to it.

    `action` is the kernel's word: add, remove, change, bind, unbind, move, online, offline.
    """

    action: str
    path: str
    subsystem: str
    driver: str | None = None

    @property
    def name(self) -> str:
        """Return the device's name."""
        return self.path.rpartition("/")[2]


def monitor_uevents(transport: Transport, *, reopen_after: float = 1.0) -> AsyncGenerator[Uevent | Overrun, None]:
    """Yield the kernel's events without end (`udevadm monitor --kernel`); see `receive_events`.

    Raises:
        FamilyMissing: this kernel has no such socket, or no simulated kernel listens.
        KernelBusy: a simulated kernel did not answer.
    """

    def join() -> tuple[Socket, Callable[[bytes], list[Uevent]]]:
        return transport.subscribe(UEVENT_KERNEL_GROUP, NetlinkProtocol.UEVENT), parse_events

    return receive_events(Source("uevent", join), reopen_after=reopen_after)


def parse_events(datagram: bytes) -> list[Uevent]:
    """Parse the event of one datagram: `add@/devices/...`, then `KEY=value`, each ended by a NUL.

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
