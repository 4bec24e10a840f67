"""The life of an mlx5 sub-function on the real kernel, by the agent's own plan and hands; iproute2 is the judge."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import loaded
from harness.machine import Machine

PROGRAMS = "/src/tests/vm/programs"


@pytest.fixture(scope="module")
def story(machine: Machine) -> Iterator[dict[str, Any]]:
    kubelet = machine.spawn(["/venv/bin/python", f"{PROGRAMS}/kubelet.py", "/run/life/kubelet"], name="kubelet")
    with loaded(machine, switchdev=1):
        code = f"import runpy; runpy.run_path('{PROGRAMS}/life.py', run_name='__main__')"
        machine.run("until [ -S /run/life/kubelet/pod-resources/kubelet.sock ]; do sleep 0.1; done", timeout=30)
        yield json.loads(machine.python(code, timeout=240).stdout.splitlines()[-1])
    kubelet.signal(9)


def only(ports: dict[str, Any]) -> dict[str, Any]:
    assert len(ports) == 1, ports
    (port,) = ports.values()
    assert isinstance(port, dict)
    return port


def assert_whole(seen: dict[str, Any]) -> None:
    port = only(seen["ports"])
    assert (port["pfnum"], port["sfnum"], port["controller"]) == (0, 1, 0)
    function = port["function"]
    assert (function["hw_addr"], function["state"], function["opstate"]) == ("02:53:46:00:00:01", "active", "attached")
    assert list(function["nested_devlink"]) == [f"auxiliary/{seen['device']}"]
    assert (seen["state"], seen["number"], seen["mismatch"]) == ("ready", 1, None)
    assert seen["nodes"], "it has no device node"
    assert all(is_device for _, is_device in seen["nodes"]), seen["nodes"]


class TestLife:
    def test_one_call_makes_it_whole_on_its_bus_with_the_mac_asked_for(self, story: dict[str, Any]) -> None:
        assert story["made"]["error"] is None
        assert_whole(story["whole"])

    def test_the_record_comes_before_the_port_and_ready_comes_last(self, story: dict[str, Any]) -> None:
        done = [moment.removeprefix("done ") for moment in story["made"]["moments"] if moment.startswith("done")]
        assert done[:2] == ["StoreRecord", "CreatePort"]
        assert done[-1] == "StoreRecord"
        assert done.index("Activate") < done.index("SetParameter") < done.index("Reload")

    def test_a_second_call_does_nothing(self, story: dict[str, Any]) -> None:
        assert story["again"]["moments"] == []

    def test_it_goes_in_order_and_leaves_the_kernel_as_it_was(self, story: dict[str, Any]) -> None:
        done = [moment.removeprefix("done ") for moment in story["removed"]["moments"] if moment.startswith("done")]
        assert done == ["StoreRecord", "Deactivate", "DeletePort", "RemoveRecord"]
        assert story["gone"] == story["clean"]


class TestKilledAtEachStep:
    def test_each_moment_of_the_way_was_tried_and_each_killed(self, story: dict[str, Any]) -> None:
        moments = len(story["made"]["moments"]) + len(story["removed"]["moments"])
        assert len(story["kills"]) == moments > 20
        assert {code for _, _, code, _, _ in story["kills"]} == {-9}

    def test_what_was_begun_is_finished_once_with_the_same_number(self, story: dict[str, Any]) -> None:
        for action, moment, _, taken_up, after in story["kills"]:
            if action == "create":
                assert taken_up["error"] is None, moment
                assert_whole(after)

    def test_what_was_being_removed_is_removed(self, story: dict[str, Any]) -> None:
        for action, moment, _, taken_up, after in story["kills"]:
            if action == "delete":
                assert taken_up["error"] is None, moment
                assert after == story["clean"], moment
