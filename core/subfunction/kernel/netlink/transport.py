"""Opens datagram sockets to a kernel: the real one, or a simulated one that speaks the same bytes over a Unix socket.

The interface is narrow on purpose. A simulated kernel receives the very bytes that the real one would, so that every
test exercises framing, family look-up, acknowledgements, dumps and extended acks.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from subfunction.errors import FamilyMissing, KernelBusy
from subfunction.kernel import uapi
from subfunction.kernel.uapi import NetlinkProtocol

__all__ = ["KernelTransport", "NetlinkProtocol", "Socket", "Transport", "UnixTransport", "open_transport"]

RECEIVE_BYTES = 1 << 16
"""The kernel builds dump datagrams of at most 32 KiB; twice that never truncates."""

_JOIN_SECONDS = 5.0
_PRELUDE: Final = struct.Struct("=II")
_REQUESTS: Final = 0
_KERNEL: Final = 0
"""The netlink port id that the kernel sends from."""

_NO_NETLINK: Final = frozenset({errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT})


class Socket(Protocol):
    """One connected datagram socket."""

    def send(self, datagram: bytes) -> None:
        """Send one datagram; the real kernel runs the request inside this call."""

    def receive(self, timeout: float | None) -> bytes:
        """Wait up to `timeout` seconds for one datagram.

        Raises:
            KernelBusy: no datagram came in time.
            OSError: ENOBUFS when multicast datagrams were lost; ENOTCONN or the like when a simulated kernel ended.
        """

    def fileno(self) -> int:
        """Return the file descriptor, for an event loop to watch."""

    def close(self) -> None:
        """Close the socket."""


class Transport(Protocol):
    """Opens such sockets.

    Both methods raise FamilyMissing where there is no such kernel, and OSError for a temporary shortage of this process
    or machine (EMFILE, ENOBUFS).
    """

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a socket for requests."""

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a socket that receives the multicast group `group`."""


class _Datagrams:
    """Implements Socket on a socket of the operating system."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, datagram: bytes) -> None:
        self._sock.settimeout(None)
        self._sock.send(datagram)

    def receive(self, timeout: float | None) -> bytes:
        self._sock.settimeout(timeout)
        try:
            datagram = self._sock.recv(RECEIVE_BYTES)
        except TimeoutError as error:
            raise KernelBusy(f"no answer within {timeout} s") from error
        if not datagram:
            raise ConnectionResetError("the kernel's end of the socket is closed")
        return datagram

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


class _FromTheKernel(_Datagrams):
    """A netlink socket that drops datagrams of other senders: any process with CAP_NET_ADMIN may send to it."""

    def receive(self, timeout: float | None) -> bytes:
        self._sock.settimeout(timeout)
        while True:
            try:
                datagram, (sender, _) = self._sock.recvfrom(RECEIVE_BYTES)
            except TimeoutError as error:
                raise KernelBusy(f"no answer within {timeout} s") from error
            if sender == _KERNEL:
                return datagram


class KernelTransport:
    """Opens netlink sockets of the running kernel, in this process's network namespace."""

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a netlink socket on which the kernel answers with extended acks."""
        return _FromTheKernel(self._open(protocol))

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Open a netlink socket that is a member of `group`."""
        sock = self._open(protocol)
        with _closed_on_error(sock):
            sock.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_ADD_MEMBERSHIP, group)
            # A burst of a few hundred ports must not overrun the socket while the loop is busy for a moment.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return _FromTheKernel(sock)

    @staticmethod
    def _open(protocol: NetlinkProtocol) -> socket.socket:
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            if (missing := family_missing(error, protocol)) is not None:
                raise missing from error
            raise
        with _closed_on_error(sock):
            sock.bind((0, 0))
            sock.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_EXT_ACK, 1)
            sock.setsockopt(uapi.SOL_NETLINK, uapi.NETLINK_CAP_ACK, 1)
        return sock


def family_missing(error: OSError, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> FamilyMissing | None:
    """Return the error for a kernel without this protocol; None for a shortage, which proves no lack."""
    if error.errno not in _NO_NETLINK:
        return None
    return FamilyMissing(f"this kernel has no {protocol.name.lower()} netlink: {error.strerror}")


@contextlib.contextmanager
def _closed_on_error(opened: socket.socket | Socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        opened.close()
        raise


class UnixTransport:
    """Connects to a simulated kernel, which speaks netlink's bytes on a Unix socket, one datagram a packet.

    A first packet of eight bytes names protocol and multicast group, which the real kernel takes from the socket;
    group 0 is for requests. The simulated kernel sends it back once it is in force, so that no notification after
    `subscribe` is missed. Without that packet the socket is one for generic netlink's requests.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Connect to the simulated kernel."""
        if protocol is NetlinkProtocol.GENERIC:
            return self._connect()
        return self._introduce(protocol, _REQUESTS)

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        """Connect and join `group`."""
        return self._introduce(protocol, group)

    def _introduce(self, protocol: NetlinkProtocol, group: int) -> Socket:
        sock = self._connect()
        with _closed_on_error(sock):
            sock.send(_PRELUDE.pack(protocol, group))
            sock.receive(_JOIN_SECONDS)
        return sock

    def _connect(self) -> Socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            sock.connect(str(self._path))
        except OSError as error:
            sock.close()
            hint = "Start it with `subfunction-simulator kernel`."
            raise FamilyMissing(f"no simulated kernel listens at {self._path}: {error.strerror}", hint=hint) from error
        return _Datagrams(sock)


def open_transport(where: str) -> Transport:
    """Return the transport that a setting names: `kernel`, or the path of a simulated kernel's socket."""
    return KernelTransport() if where == "kernel" else UnixTransport(Path(where))
