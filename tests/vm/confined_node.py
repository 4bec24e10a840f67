"""A node whose agent is confined as the chart confines it: what its records say of sysfs, and its manifest mended."""

import json
from collections.abc import Mapping
from typing import Any, Final

from node_in_vm import Node

PATIENCE: Final = 180
"""Seconds: a confined agent cannot write down what it has compiled of our code, and does so at each start."""


def assert_refused(node: Node, name: str, *words: str) -> None:
    """The object says that something is not permitted, in these words."""
    message = node.until_refused(name, "NotPermitted", PATIENCE)
    for each in words:
        assert each in message


def assert_witnessed(node: Node) -> None:
    """A program that sees the same sysfs at /sys finds what the agent recorded at /host/sys."""
    record = _record_of(node)
    assert record["state"] == "ready"
    witness = record["witness"]
    assert witness["inodes"]
    for path, inode in witness["inodes"].items():
        assert not path.startswith("/")
        assert node.shell(f"stat -L -c %i '/sys/{path}'").strip() == str(inode)
    for path, target in witness.get("links", {}).items():
        assert node.shell(f"readlink '/sys/{path}'").strip() == target
    for path, number in witness.get("numbers", {}).items():
        assert node.shell(f"cat '/sys/{path}'").strip() == number
    assert "/host/sys" not in json.dumps(record)


def with_it_mended(node: Node, specs: Mapping[str, Any]) -> None:
    """Roll out the manifest as it should be: what was refused goes on by itself."""
    node.agents[-1].signal(15)
    node.agents[-1].wait()
    node.confinement = {}
    node.start_agent()
    for name in specs:
        node.until_ready(name, PATIENCE)
    node.removed(*specs)


def _record_of(node: Node) -> Mapping[str, Any]:
    record: Mapping[str, Any] = json.loads(node.shell("cat /run/subfunction/devices/*.json"))
    return record
