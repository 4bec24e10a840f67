"""A sub-function that another tool takes down while a process has its vhost device open, on the real mlx5 driver.

The driver keeps its instance locked until the process closes the device: a list of all instances waits that long.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Final

import pytest

from conftest import fresh
from harness.holder import held, release
from harness.machine import Machine
from node_in_vm import Node, api_server, running

HOLD: Final = 60.0
"""Seconds."""
SOON: Final = 5.0
OTHERS: Final = 9


@pytest.fixture(scope="module")
def node(mlx5_machine: Machine) -> Iterator[Node]:
    with api_server() as cluster, fresh(mlx5_machine) as mlx5, running(mlx5, cluster, survey_interval="1") as node:
        yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.empty()


def seconds_to_ready(node: Node, name: str) -> float:
    began = time.monotonic()
    node.made(name)
    return time.monotonic() - began


def _port(node: Node, name: str) -> int | None:
    port: int | None = node.status(name).get("port")
    return port


def test_every_other_becomes_ready_and_the_eighth_says_what_it_waits_for(node: Node) -> None:
    status = node.made("held", flavour="virtio")
    usual = seconds_to_ready(node, "usual")
    node.removed("usual")
    handle, slot = f"{status['parent']}/{status['port']}", status["port"] % 8
    with held(node.machine, node.nic.vdpa.node(status["device"]["id"])) as holder:
        began = time.monotonic()
        node.nic.set(handle, "state", "inactive")
        assert node.machine.run("timeout 2 devlink port show", check=False).code != 0, "a list of all did not wait"
        took: dict[str, float] = {}
        waiting = ""
        for name in (f"o{index}" for index in range(1, OTHERS + 1)):
            applied = time.monotonic()
            node.cluster.apply(name)
            port = node.until(partial(_port, node, name), lambda port: port is not None, 30)
            assert port is not None
            if port % 8 == slot:
                waiting = name
                continue
            node.until_ready(name)
            took[name] = time.monotonic() - applied
        assert len(took) == OTHERS - 1
        # An emulated machine on a busy host may take that long for any.
        assert max(took.values()) < max(SOON, 2 * usual), took
        ready = node.until(partial(node.cluster.ready, waiting), lambda ready: "waits for" in ready.get("message", ""))
        assert f"sub-function {status['number']}, the SubFunction held," in ready["message"]
        assert "fuser -v" in ready["message"]
        time.sleep(max(0.0, HOLD - (time.monotonic() - began)))
        assert node.cluster.ready("held")["reason"] == "StillAttached"
        assert node.cluster.ready(waiting)["status"] == "False"
        release(holder)
    for name in (waiting, "held"):
        node.until_ready(name)


def test_one_whose_port_was_deleted_gets_its_number_back_when_the_driver_lets_go(node: Node) -> None:
    status = node.made("held", flavour="virtio")
    handle = f"{status['parent']}/{status['port']}"
    with held(node.machine, node.nic.vdpa.node(status["device"]["id"])) as holder:
        node.nic.set(handle, "state", "inactive")
        node.nic.delete(handle)
        message = node.until_refused("held", "NumberTaken")
        assert "SF already exist" in message
        other = node.made("other")
        assert other["number"] != status["number"]
        release(holder)
    assert node.until_ready("held")["number"] == status["number"]
