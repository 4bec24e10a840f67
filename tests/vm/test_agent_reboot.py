"""A node that reboots: a fresh machine with an empty kernel and an empty /run, and the cluster as it was before."""

import operator
from functools import partial
from typing import Any, Final

import pytest

from conftest import fresh
from harness.snapshot import build_snapshot
from harness.topology import MLX5
from node_in_vm import OTHER, Node, api_server, running

pytestmark = pytest.mark.ground("real mlx5")

OBJECTS: Final[dict[str, dict[str, Any]]] = {
    "blue": {"number": 77},
    "green": {"macAddress": "02:53:46:00:00:01"},
    "vhost": {"flavour": "virtio"},
    "other": {"parent": {"device": OTHER}},
}


def identities(node: Node) -> dict[tuple[str, int], str]:
    """Number and address of each sub-function that is attached, by iproute2."""
    return {
        (name.rpartition("/")[0], port["sfnum"]): port["function"]["hw_addr"]
        for name, port in node.nic.ports("pcisf").items()
        if port["function"]["opstate"] == "attached"
    }


def ready_records(node: Node) -> int:
    return node.machine.run("cat /run/subfunction/devices/*.json", check=False).stdout.count('"state": "ready"')


def test_numbers_and_addresses_are_those_of_before_and_each_is_ready_again() -> None:
    snapshot = build_snapshot(MLX5)
    with api_server() as cluster:
        with snapshot.restore() as machine, fresh(machine) as mlx5, running(mlx5, cluster) as node:
            boot = node.shell("cat /proc/sys/kernel/random/boot_id")
            node.made("early")
            before = {name: node.made(name, **spec) for name, spec in OBJECTS.items()}
            # Whoever chose anew would now choose another number.
            node.removed("early")
            made = identities(node)
            assert made == {(told["parent"], told["number"]): told["macAddress"] for told in before.values()}

        with snapshot.restore() as machine, fresh(machine) as mlx5:
            assert mlx5.ports("pcisf") == {}
            assert machine.run("ls /run/subfunction", check=False).code != 0
            assert machine.run("cat /proc/sys/kernel/random/boot_id").stdout != boot
            with running(mlx5, cluster) as node:
                node.until(lambda: identities(node), lambda now: now == made)
                node.until(lambda: ready_records(node), lambda ready: ready == len(OBJECTS))
                for name, told in before.items():
                    now = node.until_ready(name)
                    assert (now["number"], now["macAddress"]) == (told["number"], told["macAddress"])
                    # What is Ready is so since before the reboot, until the agent has had its look.
                    node.until(partial(_number, node, name), partial(operator.eq, told["number"]))
                node.empty()


def _number(node: Node, name: str) -> object:
    return node.port(node.status(name))["sfnum"]
