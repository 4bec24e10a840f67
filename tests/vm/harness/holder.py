"""Somebody who has a device open, so that who wants to take it away has to wait."""

import contextlib
import itertools
import signal
from collections.abc import Iterator

from harness.machine import Machine, Process
from harness.wait import until

_numbers = itertools.count(1)


@contextlib.contextmanager
def held(machine: Machine, path: str) -> Iterator[Process]:
    """A device node, open until the end of the block or `release`."""
    with _holding(machine, f"exec 9<>{path} && echo open && exec sleep 100000") as process:
        yield process


@contextlib.contextmanager
def vfio_held(machine: Machine, group: str, device: str) -> Iterator[Process]:
    """A VFIO device opened through its group (`9` for /dev/vfio/9), as QEMU or DPDK do, until the end of the block."""
    with _holding(machine, f"exec python /src/tests/vm/programs/vfio.py {group} {device} --hold") as process:
        yield process


def release(process: Process) -> None:
    """Let the holder go; harmless when it has gone."""
    process.signal(signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _holding(machine: Machine, line: str) -> Iterator[Process]:
    process = machine.spawn(line, name=f"holder-{next(_numbers)}")
    try:
        until(process.log.read_text, lambda text: "open\n" in text or not process.alive())
        assert process.alive(), process.log.read_text()
        yield process
    finally:
        release(process)
