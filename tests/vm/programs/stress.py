"""Run inside the machine: many workers, each a process, live random lives of sub-functions on every card at once.

With vDPA devices, mediated devices and rates in the mix. Prints what happened as JSON; exit code 1 if anything
happened that the kernel's contract does not foresee.
"""

import argparse
import collections
import errno
import json
import os
import random
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from programs.genetlink import NESTED, Family, Refused, attribute, attributes, number, text

PORT_GET, PORT_SET, PORT_NEW, PORT_DEL, ESWITCH_SET, RELOAD, PARAM_SET, RATE_SET = 5, 6, 7, 8, 30, 37, 39, 75
BUS, DEV, INDEX, MODE, FLAVOUR = 1, 2, 3, 25, 77
PARAM_NAME, PARAM_TYPE, PARAM_DATA, PARAM_CMODE, PF_NUMBER, FUNCTION, SF_NUMBER = 81, 83, 86, 87, 127, 145, 164
RATE_TX_SHARE, RATE_TX_MAX = 166, 167
FN_MAC, FN_STATE, FN_OPSTATE, FN_DEVLINK = 1, 2, 3, 5
VDPA_NEW, VDPA_DEL, VDPA_BUS, VDPA_MGMT, VDPA_NAME, VDPA_MTU = 3, 4, 1, 2, 4, 13

SYS = Path("/sys")
LIVES = 4
"""That each worker lives at least, however slow the machine is."""
GONE = (errno.ENODEV,)
"""Somebody else may take the card from under us at any time: then port or instance is gone."""
LATE = (errno.ENODEV, errno.EBUSY, errno.ENOENT, errno.EAGAIN)
"""What a write to sysfs may come back with for the same reason."""


@dataclass
class Worker:
    """One worker: lives, one after the other, until the time is over."""

    number: int
    driver: str
    until: float
    cards: dict[str, int]
    devlink: Family = field(default_factory=lambda: Family("devlink"))
    vdpa: Family = field(default_factory=lambda: Family("vdpa"))
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.number)

    def work(self) -> None:
        while time.monotonic() < self.until or self.counts["lives"] < LIVES:
            card = self.random.choice(list(self.cards))
            if self.random.random() < 0.02 or (self.number == 0 and self.counts["lives"] % 3 == 2):
                self.upheaval(card)
            elif self.random.random() < 0.1:
                self.mediated(card)
            else:
                self.life(card)

    def upheaval(self, card: str) -> None:
        """The card's mode changes, or its driver goes and comes back, whoever is at work on it."""
        self.counts["upheavals"] += 1
        # ice leaves its ports behind in legacy mode, and deleting one is then a fault of the user's.
        if self.random.random() < 0.6 and self.driver != "ice":
            for mode in (0, 1):
                if self.ask("eswitch", GONE, ESWITCH_SET, card, number(MODE, mode, "H")) is None:
                    break
        else:
            address = card.removeprefix("pci/")
            folder = SYS / "bus/pci/drivers" / self.driver
            self.write(folder / "unbind", address)
            self.write(folder / "bind", address)
        self.counts["lives"] += 1

    def mediated(self, card: str) -> None:
        """A mediated device of the card comes and goes."""
        name = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        types = SYS / "class/mdev_bus" / card.removeprefix("pci/") / "mdev_supported_types"
        self.write(types / f"{self.driver}-local/create", name, (*LATE, errno.EUSERS))
        time.sleep(self.random.random() * 0.01)
        self.write(SYS / "bus/mdev/devices" / name / "remove", "1")

    def life(self, card: str) -> None:
        """From `port add` to `port del`, with any of the things between that a user may do."""
        # Few numbers, so that workers meet; one that is taken and a card in legacy mode are part of that.
        new = number(FLAVOUR, 7, "H") + number(PF_NUMBER, self.cards[card], "H")
        new += number(SF_NUMBER, self.random.randrange(1, 9), "I")
        taken = (errno.EBUSY, errno.ENOMEM) if self.driver == "ice" else (errno.EEXIST, errno.ENOSPC)
        answers = self.ask("new", (*GONE, *taken, errno.EOPNOTSUPP), PORT_NEW, card, new)
        if answers is None:
            time.sleep(self.random.random() * 0.005)
            return
        index = attribute(INDEX, dict(attributes(answers[0]))[INDEX])
        if self.random.random() < 0.3 and self.driver != "ice":
            rate = number(self.random.choice((RATE_TX_SHARE, RATE_TX_MAX)), 125000 * self.random.randrange(80), "Q")
            self.ask("rate", GONE, RATE_SET, card, index + rate)
        if self.random.random() < 0.9:
            self.activate(card, index)
        if self.random.random() < 0.7:
            self.use(card, index)
        if self.random.random() < 0.5:
            self.function(card, index, attribute(FN_STATE, b"\0"))
            if self.random.random() < 0.5:
                self.wait(card, index, opstate=0)
        self.ask("del", GONE, PORT_DEL, card, index)
        self.counts["lives"] += 1

    def activate(self, card: str, index: bytes) -> None:
        mac = attribute(FN_MAC, bytes([2, *self.random.randbytes(5)]))
        self.function(card, index, mac + attribute(FN_STATE, b"\1"))
        if self.random.random() < 0.7:
            self.wait(card, index, opstate=1)

    def use(self, card: str, index: bytes) -> None:
        """Enable, reload and use it; or take a driver away and bring it back."""
        device = self.show(card, index).get(FN_DEVLINK)
        if device is None:
            return
        name = dict(attributes(device))[DEV].rstrip(b"\0").decode()
        if self.driver == "ice" or self.random.random() < 0.2:
            self.rebind(f"{self.driver}.sf", name)
            return
        for parameter in ("enable_eth", "enable_rdma", "enable_vnet"):
            body = text(PARAM_NAME, parameter) + attribute(PARAM_TYPE, b"\6") + attribute(PARAM_CMODE, b"\1")
            data = attribute(PARAM_DATA, b"") if self.random.random() < 0.6 else b""
            # EINVAL: the name now belongs to an instance on its way out, whose parameters are gone already.
            self.ask("param", (*GONE, errno.EINVAL), PARAM_SET, f"auxiliary/{name}", body + data)
        self.ask("reload", GONE, RELOAD, f"auxiliary/{name}")
        if self.random.random() < 0.7:
            self.virtio(name)
        if self.random.random() < 0.3:
            kind, driver = self.random.choice((("eth", "mlx5_core"), ("rdma", "mlx5_ib"), ("vnet", "mlx5_vdpa")))
            self.rebind(f"{driver}.{kind}", name.replace(".sf.", f".{kind}."))
        if self.random.random() < 0.2:
            self.ask("reload", GONE, RELOAD, f"auxiliary/{name}")

    def rebind(self, driver: str, device: str) -> None:
        folder = SYS / "bus/auxiliary/drivers" / driver
        self.write(folder / "unbind", device)
        if self.random.random() < 0.7:
            self.write(folder / "bind", device)

    def virtio(self, auxiliary: str) -> None:
        """A vDPA device, under this driver or that one, opened for a moment, and deleted by us or with its parent."""
        name = f"vd{self.number}"
        body = text(VDPA_NAME, name) + text(VDPA_BUS, "auxiliary") + text(VDPA_MGMT, auxiliary)
        body += number(VDPA_MTU, 1500, "H")
        accepted = (*GONE, errno.ENOSPC, errno.EEXIST)
        if self.expect("vdpa_add", accepted, lambda: self.vdpa.request(VDPA_NEW, body)) is None:
            return
        device = SYS / "bus/vdpa/devices" / name
        if self.random.random() < 0.5:
            self.write(device / "driver_override", self.random.choice(("virtio_vdpa", "vhost_vdpa")))
            self.write(SYS / "bus/vdpa/drivers/vhost_vdpa/unbind", name)
            self.write(SYS / "bus/vdpa/drivers_probe", name, (*LATE, errno.EINVAL))
        for node in self.nodes(device):
            self.hold(Path("/dev") / node)
        if self.random.random() < 0.7:
            self.expect("vdpa_del", GONE, lambda: self.vdpa.request(VDPA_DEL, text(VDPA_NAME, name)))

    def nodes(self, device: Path) -> list[str]:
        """The names of a device's character devices; none if it has gone with its parent."""
        try:
            return [entry.name for entry in device.iterdir() if entry.name.startswith("vhost-vdpa-")]
        except FileNotFoundError:
            return []

    def hold(self, node: Path) -> None:
        try:
            with node.open("r+b", buffering=0):
                time.sleep(self.random.random() * 0.02)
        except OSError as error:
            # ENXIO: the number is known, and its device has just gone.
            if error.errno not in (*LATE, errno.ENXIO):
                raise
        else:
            self.counts["held"] += 1

    def show(self, card: str, index: bytes) -> dict[int, bytes]:
        answers = self.ask("get", GONE, PORT_GET, card, index)
        shown = dict(attributes(answers[0])) if answers else {}
        return dict(attributes(shown.get(FUNCTION, b"")))

    def function(self, card: str, index: bytes, body: bytes) -> None:
        self.ask("set", (*GONE, errno.EBUSY), PORT_SET, card, index + attribute(FUNCTION | NESTED, body))

    def wait(self, card: str, index: bytes, opstate: int) -> None:
        """A while, not for ever: another worker may have unbound the driver, or deleted the port."""
        deadline = time.monotonic() + self.random.random() * 0.2
        while time.monotonic() < deadline:
            if self.show(card, index).get(FN_OPSTATE, bytes([opstate])) == bytes([opstate]):
                return
            time.sleep(0.002)

    def write(self, path: Path, value: str, accepted: tuple[int, ...] = LATE) -> None:
        try:
            path.write_text(value)
        except OSError as error:
            self.counts[f"write {path.name} {errno.errorcode.get(error.errno or 0)}"] += 1
            if error.errno not in accepted:
                raise
        else:
            self.counts[path.name] += 1

    def ask(
        self, name: str, accepted: tuple[int, ...], command: int, device: str, body: bytes = b""
    ) -> list[bytes] | None:
        bus, _, rest = device.partition("/")
        handle = text(BUS, bus) + text(DEV, rest)
        return self.expect(name, accepted, lambda: self.devlink.request(command, handle + body))

    def expect(self, name: str, accepted: tuple[int, ...], act: Callable[[], list[bytes]]) -> list[bytes] | None:
        try:
            answers = act()
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
        life = Worker(arguments.seed + worker, arguments.driver, time.monotonic() + arguments.seconds, cards)
        report["counts"] = life.counts
        life.work()
    except Exception:  # noqa: BLE001 - the edge of the child: whatever it was is reported, and fails the run
        report["failure"] = traceback.format_exc()
    os.write(pipe, json.dumps(report).encode() + b"\n")
    os._exit(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--driver", default="mlx5_core")
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
