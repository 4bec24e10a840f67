"""A parent whose kernel takes five seconds for one answer: others go on meanwhile, and the agent hears everybody.

That the event loop is never late by 50 ms is measured where time can be (tests/operator/test_worker.py). Emulated by TCG
on two busy cores, an idle agent's loop is late by 20 to 200 ms now and then; a loop that the RELOAD held up would be late
by five seconds. Between the two is the bound that is asserted here.
"""

import time
from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.machine import Machine
from node_in_vm import OTHER, PARENT, PCI, Node, api_server, running

RELOAD = 5.0
LATE = 1.0
"""Seconds."""


@pytest.fixture(scope="module")
def node(machine: Machine) -> Iterator[Node]:
    with api_server() as cluster, loaded(machine, switchdev=1) as sfsim, running(sfsim, cluster, timed=True) as node:
        yield node


def test_while_one_parent_reloads_for_five_seconds_another_makes_its_sub_functions(node: Node) -> None:
    node.made("first", parent={"device": OTHER})
    node.sfsim.faults(PCI).delay(reload=int(RELOAD * 1000))
    node.sfsim.faults(PCI).forget()
    node.forget_lateness()
    node.cluster.apply("slow")
    node.until(lambda: node.sfsim.faults(PCI).counts(), lambda counts: "reload" in counts)
    began = time.monotonic()
    node.made("quick", parent={"device": OTHER})
    node.made("vhost", parent={"device": OTHER}, flavour="virtio")
    node.removed("first")
    took = time.monotonic() - began
    slow = node.cluster.ready("slow")
    assert took < RELOAD, f"three things on {OTHER} took {took:.1f} s"
    assert slow.get("status") != "True", f"the RELOAD on {PARENT} was over before the others were"
    node.until_ready("slow")
    lateness = node.lateness()
    print(f"others: {took:.2f} s; late at most {max(lateness):.3f} s, {len(lateness)} times over 10 ms")
    assert max(lateness) < LATE
    node.empty()
