"""What a story is made of: a node, and the operations on one object, each with what the kernel must hold afterwards."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from subfunction_simulator.kernel import Parent, Topology

HANDLE: Final = "pci/0000:03:00.0"
NUMBER: Final = 2
"""The lowest free one: somebody else has 1."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """What a person does to the object, and what must be so afterwards."""

    name: str
    spec: Mapping[str, Any] | None
    """What is asked for; None deletes the object."""
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Flavour:
    """A node, and the story of one object on it."""

    name: str
    topology: Topology
    operations: tuple[Operation, ...]
    numbered: bool = True
    """Whether it has a number, and a port of its own."""
    waits: tuple[tuple[str, str], ...] = ()
    """In which operations the firmware takes its time: to attach, or to detach."""


def node(**parent: Any) -> Topology:
    """Give a node with one card, and a bridge."""
    return Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", **parent),), bridges=("br0",))


def sf(rest: str) -> str:
    """Give the line of the object's sub-function."""
    return f"{HANDLE} sf {NUMBER}: {rest}"
