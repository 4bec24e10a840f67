"""Recorded answers of kernels: the questions, the files below `replies/`, and their replay.

A folder is a kernel. A file is a question; its lines are datagrams in hex, and a blank line stands between the answers
to two requests of that question (the first looks the family up). `record_replies.py` writes them.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tests.core.conftest import ScriptedTransport

from subfunction.errors import KernelError, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.vdpa import Vdpa, VdpaSettings
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.link import Links, LinkSettings
from subfunction.kernel.monitor import devlink, link, uevent
from subfunction.kernel.netlink.framing import HEADER, split_messages
from subfunction.kernel.netlink.genetlink import Netlink

FOLDER: Final = Path(__file__).with_name("replies")
Answers = tuple[tuple[bytes, ...], ...]
"""The datagrams that answer each request."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """What was asked about; `uplink` and `ethernet` are the instances of the parent's and the function's netdev."""

    parent: str
    pf: int
    uplink: str
    index: int
    instance: str
    ethernet: str
    ifindex: int

    @property
    def port(self) -> tuple[Handle, int]:
        return Handle.parse(self.parent), self.index


Question = Callable[[Netlink, Scene], object]

QUESTIONS: Final[dict[str, Question]] = {
    "ports": lambda netlink, scene: Devlink(netlink).ports(scene.port[0]),
    "port": lambda netlink, scene: Devlink(netlink).port(*scene.port),
    "uplink": lambda netlink, scene: Devlink(netlink).ports(Handle.parse(scene.uplink)),
    "virtual-port": lambda netlink, scene: Devlink(netlink).ports(Handle.parse(scene.ethernet)),
    "eswitch-mode": lambda netlink, scene: Devlink(netlink).eswitch_mode(scene.port[0]),
    "capacity": lambda netlink, scene: Devlink(netlink).capacity(scene.port[0]),
    "parameter": lambda netlink, scene: Devlink(netlink).parameter(Handle.parse(scene.instance), "enable_eth"),
    "roce": lambda netlink, scene: Devlink(netlink).parameter(Handle.parse(scene.instance), "enable_roce"),
    "rate": lambda netlink, scene: Devlink(netlink).rate(*scene.port),
    "number-taken": lambda netlink, scene: Devlink(netlink).create_port(scene.port[0], pf=scene.pf, number=88),
    "no-such-port": lambda netlink, scene: Devlink(netlink).delete_port(scene.port[0], 4711),
    "state-it-has": lambda netlink, scene: Devlink(netlink).set_active(*scene.port, active=True),
    "vdpa-full": lambda netlink, scene: Vdpa(netlink).add("other", Handle.parse(scene.instance), VdpaSettings()),
    "link-set": lambda netlink, scene: Links(netlink).set(scene.ifindex, LinkSettings(up=True)),
    "no-such-link": lambda netlink, _: Links(netlink).set(4711, LinkSettings(up=True)),
}


def _devlink_events(datagram: bytes) -> object:
    return devlink.parse_events(
        datagram, HEADER.unpack_from(next(iter(split_messages(datagram)), bytes(HEADER.size)))[1]
    )


ANNOUNCED: Final[dict[str, Callable[[bytes], object]]] = {
    "devlink-events": _devlink_events,
    "link-events": link.parse_events,
    "uevents": uevent.parse_events,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """One question as one kernel answered it."""

    kernel: str
    name: str
    answers: Answers

    def __str__(self) -> str:
        return f"{self.kernel}-{self.name}"


def recordings() -> list[Recording]:
    """Read every answer to a question."""
    return [Recording(path.parent.name, path.stem, _read(path)) for path in _files() if path.stem in QUESTIONS]


def announcements() -> list[Recording]:
    """Read every announcement; each datagram is an answer of its own."""
    return [Recording(path.parent.name, path.stem, _read(path)) for path in _files() if path.stem in ANNOUNCED]


def scene(kernel: str) -> Scene:
    """Read what the questions of a kernel were about."""
    return Scene(**json.loads((FOLDER / kernel / "scene.json").read_text(encoding="ascii")))


def write(folder: Path, name: str, answers: Answers) -> None:
    """Write one question."""
    text = "\n\n".join("\n".join(datagram.hex() for datagram in answer) for answer in answers)
    (folder / f"{name}.hex").write_text(f"{text}\n", encoding="ascii")


def replay(recording: Recording, answers: Answers) -> object:
    """Ask the question of a kernel that answers so; an error that is no SubFunctionError is a fault of ours."""
    waiting = list(answers)

    def answer(_: bytes) -> Sequence[bytes]:
        return waiting.pop(0) if waiting else ()

    try:
        return QUESTIONS[recording.name](Netlink(ScriptedTransport(answer)), scene(recording.kernel))
    except KernelError as error:
        return (type(error), error.errno, error.text)
    except SubFunctionError as error:
        return error


def _files() -> list[Path]:
    return sorted(FOLDER.glob("*/*.hex"))


def _read(path: Path) -> Answers:
    groups = path.read_text(encoding="ascii").rstrip("\n").split("\n\n")
    return tuple(tuple(bytes.fromhex(line) for line in group.splitlines()) for group in groups)
