"""Writes down what is asked of a kernel and what it answers, as bytes, one exchange a line.

`SUBFUNCTION_RECORD=FILE` records a run of the contract; `tests/recordings` reads it.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Final

from subfunction.kernel.netlink.transport import NetlinkProtocol, Socket, Transport

RECORD: Final = "SUBFUNCTION_RECORD"


def recorded(transport: Transport) -> Transport:
    """The same transport; recorded, where a file for that is named."""
    file = os.environ.get(RECORD)
    return transport if file is None else _Recording(transport, Path(file))


@dataclasses.dataclass(frozen=True, slots=True)
class _Recording:
    """A transport whose requests and their answers are appended to a file."""

    below: Transport
    file: Path

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return _Heard(self.below.connect(protocol), protocol, self.file)

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return self.below.subscribe(group, protocol)


@dataclasses.dataclass(slots=True)
class _Heard:
    """A socket that writes an exchange down when the next begins, or when it is closed."""

    below: Socket
    protocol: NetlinkProtocol
    file: Path
    request: bytes = b""
    answers: list[bytes] = dataclasses.field(default_factory=list)

    def send(self, datagram: bytes) -> None:
        self._write()
        self.request = datagram
        self.below.send(datagram)

    def receive(self, timeout: float | None) -> bytes:
        datagram = self.below.receive(timeout)
        self.answers.append(datagram)
        return datagram

    def fileno(self) -> int:
        return self.below.fileno()

    def close(self) -> None:
        self._write()
        self.below.close()

    def _write(self) -> None:
        if self.request and self.answers:
            answers = [each.hex() for each in self.answers]
            line = {"protocol": self.protocol.name, "request": self.request.hex(), "answers": answers}
            with self.file.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")
        self.request, self.answers = b"", []
