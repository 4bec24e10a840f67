"""Run inside the machine: many workers, each a process, live random lives of sub-functions on every card at once.

A raw netlink codec of its own, because neither pyroute2 nor our messages should be what is tested here, and because
it is quick: the more requests, the more interleavings. Prints what happened as JSON; exit code 1 if anything happened
that the kernel's contract does not foresee.
"""

import argparse
import collections
import errno
import json
import os
import random
import socket
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NETLINK_GENERIC = 16
CTRL, CTRL_GETFAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME = 16, 3, 1, 2
REQUEST_ACK, ERROR = 5, 2
NESTED = 0x8000

PORT_GET, PORT_SET, PORT_NEW, PORT_DEL, ESWITCH_SET, RELOAD, PARAM_SET = 5, 6, 7, 8, 30, 37, 39
BUS, DEV, INDEX, MODE, FLAVOUR = 1, 2, 3, 25, 77
PARAM_NAME, PARAM_TYPE, PARAM_DATA, PARAM_CMODE, PF_NUMBER, FUNCTION, SF_NUMBER = 81, 83, 86, 87, 127, 145, 164
FN_MAC, FN_STATE, FN_OPSTATE, FN_DEVLINK = 1, 2, 3, 5

DRIVER = Path("/sys/bus/auxiliary/drivers/mlx5_core.sf")
PCI_DRIVER = Path("/sys/bus/pci/drivers/mlx5_core")
GONE = (errno.ENODEV,)
"""Somebody else may take the card from under us at any time: then port or instance is gone."""


class Refused(Exception):
    """An answer, and often one of those expected."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


class Devlink:
    """One blocking socket; an answer later than 20 s is a failure of the kernel's."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.settimeout(20)
        self._sequence = 0
        found = dict(attributes(self._ask(CTRL, CTRL_GETFAMILY, text(CTRL_FAMILY_NAME, "devlink"))[0]))
        self._family = int(struct.unpack("H", found[CTRL_FAMILY_ID])[0])

    def request(self, command: int, device: str, body: bytes = b"") -> list[bytes]:
        bus, _, name = device.partition("/")
        return self._ask(self._family, command, text(BUS, bus) + text(DEV, name) + body)

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


@dataclass
class Worker:
    """One worker: lives, one after the other, until the time is over."""

    seed: int
    until: float
    cards: dict[str, int]
    devlink: Devlink = field(default_factory=Devlink)
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def work(self) -> None:
        while time.monotonic() < self.until:
            card = self.random.choice(list(self.cards))
            if self.random.random() < 0.02:
                self.upheaval(card)
            else:
                self.life(card)

    def upheaval(self, card: str) -> None:
        """The card's mode changes, or its driver goes and comes back, whoever is at work on it."""
        if self.random.random() < 0.6:
            for mode in (0, 1):
                if self.expect("eswitch", GONE, ESWITCH_SET, card, attribute(MODE, struct.pack("H", mode))) is None:
                    return
        else:
            address = card.removeprefix("pci/")
            self.write(PCI_DRIVER / "unbind", address)
            self.write(PCI_DRIVER / "bind", address)
        self.counts["upheavals"] += 1

    def life(self, card: str) -> None:
        """From `port add` to `port del`, with any of the things between that a user may do."""
        # Few numbers, so that workers meet; EEXIST and a card in legacy mode are part of that.
        number = self.random.randrange(1, 9)
        new = (
            attribute(FLAVOUR, struct.pack("H", 7))
            + attribute(PF_NUMBER, struct.pack("H", self.cards[card]))
            + attribute(SF_NUMBER, struct.pack("I", number))
        )
        accepted = (*GONE, errno.EEXIST, errno.ENOSPC, errno.EOPNOTSUPP)
        answers = self.expect("new", accepted, PORT_NEW, card, new)
        if answers is None:
            time.sleep(self.random.random() * 0.005)
            return
        index = attribute(INDEX, dict(attributes(answers[0]))[INDEX])
        if self.random.random() < 0.9:
            self.activate(card, index)
        if self.random.random() < 0.6:
            self.use(card, index)
        if self.random.random() < 0.5:
            self.function(card, index, attribute(FN_STATE, b"\0"))
            if self.random.random() < 0.5:
                self.wait(card, index, opstate=0)
        self.expect("del", GONE, PORT_DEL, card, index)
        self.counts["lives"] += 1

    def activate(self, card: str, index: bytes) -> None:
        mac = attribute(FN_MAC, bytes([2, *self.random.randbytes(5)]))
        self.function(card, index, mac + attribute(FN_STATE, b"\1"))
        if self.random.random() < 0.7:
            self.wait(card, index, opstate=1)

    def use(self, card: str, index: bytes) -> None:
        """Enable and reload, or take the driver away and bring it back."""
        device = self.show(card, index).get(FN_DEVLINK)
        if device is None:
            return
        name = dict(attributes(device))[DEV].rstrip(b"\0").decode()
        if self.random.random() < 0.3:
            self.write(DRIVER / "unbind", name)
            if self.random.random() < 0.7:
                self.write(DRIVER / "bind", name)
            return
        for parameter in ("enable_eth", "enable_rdma"):
            body = text(PARAM_NAME, parameter) + attribute(PARAM_TYPE, b"\6") + attribute(PARAM_CMODE, b"\1")
            data = attribute(PARAM_DATA, b"") if self.random.random() < 0.7 else b""
            # EINVAL: the name now belongs to an instance on its way out, whose parameters are gone already.
            self.expect("param", (*GONE, errno.EINVAL), PARAM_SET, f"auxiliary/{name}", body + data)
        self.expect("reload", GONE, RELOAD, f"auxiliary/{name}")

    def show(self, card: str, index: bytes) -> dict[int, bytes]:
        answers = self.expect("get", GONE, PORT_GET, card, index)
        shown = dict(attributes(answers[0])) if answers else {}
        return dict(attributes(shown.get(FUNCTION, b"")))

    def function(self, card: str, index: bytes, body: bytes) -> None:
        self.expect("set", (*GONE, errno.EBUSY), PORT_SET, card, index + attribute(FUNCTION | NESTED, body))

    def wait(self, card: str, index: bytes, opstate: int) -> None:
        """A while, not for ever: another worker may have unbound the driver, or deleted the port."""
        deadline = time.monotonic() + self.random.random() * 0.2
        while time.monotonic() < deadline:
            if self.show(card, index).get(FN_OPSTATE, bytes([opstate])) == bytes([opstate]):
                return
            time.sleep(0.002)

    def write(self, path: Path, value: str) -> None:
        try:
            path.write_text(value)
        except OSError as error:
            self.counts[f"write {errno.errorcode.get(error.errno or 0)}"] += 1
            if error.errno not in (errno.ENODEV, errno.EBUSY, errno.ENOENT):
                raise
        else:
            self.counts[path.name] += 1

    def expect(
        self, name: str, accepted: tuple[int, ...], command: int, device: str, body: bytes = b""
    ) -> list[bytes] | None:
        try:
            answers = self.devlink.request(command, device, body)
        except Refused as refused:
            self.counts[f"{name} {errno.errorcode[refused.code]}"] += 1
            if refused.code not in accepted:
                raise
            return None
        self.counts[name] += 1
        return answers


def run_worker(worker: int, arguments: argparse.Namespace, pipe: int) -> None:
    """In a child: work, and write what was counted to the pipe."""
    report: dict[str, object] = {}
    try:
        cards = {f"pci/{card}": int(card[-1]) for card in arguments.cards}
        life = Worker(arguments.seed + worker, time.monotonic() + arguments.seconds, cards)
        life.work()
        report["counts"] = life.counts
    except Exception:  # noqa: BLE001 - the edge of the child: whatever it was is reported, and fails the run
        report["failure"] = traceback.format_exc()
    os.write(pipe, json.dumps(report).encode() + b"\n")
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("cards", nargs="+")
    arguments = parser.parse_args()
    reading, writing = os.pipe()
    children = []
    for worker in range(arguments.workers):
        pid = os.fork()
        if not pid:
            run_worker(worker, arguments, writing)
        children.append(pid)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        reports = [json.loads(line) for line in pipe]
    for pid in children:
        os.waitpid(pid, 0)
    total: collections.Counter[str] = collections.Counter()
    for report in reports:
        total.update(report.get("counts", {}))
    sys.stdout.write(json.dumps(dict(sorted(total.items()))) + "\n")
    failures = [report["failure"] for report in reports if "failure" in report]
    sys.stderr.write("\n".join(failures))
    return 1 if failures or len(reports) != arguments.workers else 0


if __name__ == "__main__":
    sys.exit(main())
