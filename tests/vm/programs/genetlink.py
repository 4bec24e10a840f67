"""Generic netlink in sixty lines, for programs that run inside the machine.

A codec of its own, because neither pyroute2 nor our messages should be what is tested where this is used, and because
it is quick: the more requests, the more interleavings.
"""

import os
import socket
import struct
from collections.abc import Iterator

NETLINK_GENERIC = 16
CTRL, CTRL_GETFAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME = 16, 3, 1, 2
REQUEST_ACK, ERROR = 5, 2
NESTED = 0x8000


class Refused(Exception):
    """An answer, and often one of those expected."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int, form: str) -> bytes:
    return attribute(kind, struct.pack(form, value))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


class Family:
    """One blocking socket for one family; an answer later than 20 s is a failure of the kernel's."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.settimeout(20)
        self._sequence = 0
        found = dict(attributes(self._ask(CTRL, CTRL_GETFAMILY, text(CTRL_FAMILY_NAME, name))[0]))
        self._family = int(struct.unpack("H", found[CTRL_FAMILY_ID])[0])

    def request(self, command: int, body: bytes) -> list[bytes]:
        """Send a request and await its acknowledgement; the answers that came before it."""
        return self._ask(self._family, command, body)

    def _ask(self, family: int, command: int, body: bytes) -> list[bytes]:
        self._sequence += 1
        header = struct.pack("IHHII", 20 + len(body), family, REQUEST_ACK, self._sequence, 0)
        self._socket.send(header + struct.pack("BBH", command, 1, 0) + body)
        answers: list[bytes] = []
        while True:
            data = self._socket.recv(1 << 16)
            while data:
                length, kind, _, sequence, _ = struct.unpack_from("IHHII", data)
                if sequence == self._sequence and kind == ERROR:
                    code = -struct.unpack_from("i", data, 16)[0]
                    if code:
                        raise Refused(code)
                    return answers
                if sequence == self._sequence:
                    answers.append(data[20:length])
                data = data[(length + 3) & ~3 :]
