"""Sockets to the running kernel: what opening one can fail with, and that a failure leaves none behind."""

import contextlib
import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from subfunction.errors import KernelBusy
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import (
    KernelTransport,
    NetlinkProtocol,
    Socket,
    Transport,
    UnixTransport,
    _FromTheKernel,
    family_missing,
)

NETLINK_USERSOCK = 2


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("way", [KernelTransport(), UnixTransport(Path("/none/netlink.sock"))], ids=["kernel", "unix"])
def test_a_process_out_of_descriptors_does_not_blame_the_kernel(way: Transport) -> None:
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files") as refused:
        way.connect()
    assert refused.value.errno == errno.EMFILE
    with no_descriptor_left(), pytest.raises(KernelBusy, match="Too many open files"):
        Devlink(Netlink(way)).exists(Handle("pci", "0000:05:00.0"))


@pytest.mark.parametrize("number", [errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT])
def test_a_kernel_without_netlink_says_that_it_has_none(number: int) -> None:
    error = family_missing(OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(error)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_a_shortage_says_nothing_of_the_kernel(number: int) -> None:
    assert family_missing(OSError(number, os.strerror(number))) is None


def test_what_a_process_sends_to_a_netlink_socket_is_not_heard() -> None:
    # The protocol for conversations between processes: any of them may send there.
    ears, mouth = (socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_USERSOCK) for _ in range(2))
    with ears, mouth:
        ears.bind((0, 0))
        mouth.sendto(b"add@/devices/forged", ears.getsockname())
        with pytest.raises(KernelBusy):
            _FromTheKernel(ears).receive(0.05)


def prelude(path: Path, ask: Callable[[UnixTransport], Socket]) -> bytes:
    """Listen as a simulated kernel does, and give the first packet of a connection; it is sent back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        with ThreadPoolExecutor(1) as thread:
            opened = thread.submit(ask, UnixTransport(path))
            connection, _ = listener.accept()
            with connection:
                first = connection.recv(64)
                connection.send(first)
                opened.result(10).close()
    return first


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda way: way.subscribe(5), (16, 5)),
        (lambda way: way.subscribe(1, NetlinkProtocol.UEVENT), (15, 1)),
        (lambda way: way.subscribe(1, NetlinkProtocol.ROUTE), (0, 1)),
        (lambda way: way.connect(NetlinkProtocol.ROUTE), (0, 0)),
    ],
    ids=["devlink's group", "uevents", "links", "requests about links"],
)
def test_a_simulated_kernel_is_told_protocol_and_group_first(
    tmp_path: Path, ask: Callable[[UnixTransport], Socket], expected: tuple[int, int]
) -> None:
    assert struct.unpack("=II", prelude(tmp_path / "netlink.sock", ask)) == expected


def test_a_group_that_cannot_be_joined_leaves_no_socket() -> None:
    before = descriptors()
    with pytest.raises(OSError, match="Invalid argument") as refused:
        KernelTransport().subscribe(0)
    # Counted while the traceback still holds whatever was not closed.
    assert refused.value.__traceback__ is not None
    assert descriptors() == before
