"""The life of a device of each flavour on the real kernel, by the agent's own plan and hands; iproute2 is the judge.

One pass a flavour: made, looked at again, removed, and killed by SIGKILL before and after each step of both ways.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from conftest import fresh, loaded
from harness.kernels import LINUX_6_12, LINUX_7_3, Kernel
from harness.machine import Machine
from harness.nic import Nic
from harness.snapshot import Snapshot, build_snapshot
from harness.topology import IOMMU, MLX5

PROGRAMS = "/src/tests/vm/programs"
PARENT, WITH_FUNCTIONS = "pci/0000:05:00.0", "pci/0000:41:00.0"
MAC = "02:53:46:00:00:01"


@dataclass(frozen=True)
class Case:
    """A flavour: its spec, the ground it is made on, and what its record and its way must show.

    `parameters` are those of sfsim; None is the real mlx5 driver. In a `used` slot each new port shows another's
    address, as one does whose slot another tool had before.
    """

    spec: dict[str, Any]
    parameters: dict[str, int | str] | None = None
    used: bool = False
    functions: int = 0
    nodes: int = 0
    made: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def native(flavour: str, **more: Any) -> dict[str, Any]:
    return {"flavour": flavour, "parent": {"device": PARENT}, "macAddress": MAC, **more}


PORT = ("StoreRecord", "CreatePort")
NO_PORT = ("StoreRecord", "Deactivate", "DeletePort", "RemoveRecord")
NO_MLX5_PORT = ("StoreRecord", "Deactivate", "SetFunction", "DeletePort", "RemoveRecord")
NO_VDPA = (
    "StoreRecord",
    "RemoveDeviceInfo",
    "UnbindDriver",
    "OverrideDriver",
    "DeleteVdpa",
    "Deactivate",
    "SetFunction",
    "DeletePort",
    "RemoveRecord",
)
CASES = {
    "mlx5": Case(
        native("mlx5", mtu=1400, rate={"maxBitsPerSecond": 1_000_000_000}), nodes=1, made=PORT, removed=NO_MLX5_PORT
    ),
    "mlx5 in a used slot": Case(native("mlx5"), used=True, nodes=1, made=PORT, removed=NO_MLX5_PORT),
    "ice": Case(native("ice"), {"personality": "ice"}, made=PORT, removed=NO_PORT),
    "vhost-vdpa": Case(native("virtio"), nodes=1, made=PORT, removed=NO_VDPA),
    "virtio-vdpa": Case(native("virtio", virtio={"driver": "virtio-vdpa"}), made=PORT, removed=NO_VDPA),
    "virtual function": Case(
        {"flavour": "vfio", "parent": {"device": WITH_FUNCTIONS}, "macAddress": MAC, "vfio": {"virtualFunction": 1}},
        {},
        functions=2,
        nodes=2,
        made=("StoreRecord", "OverrideDriver"),
        removed=(
            "StoreRecord",
            "RemoveDeviceInfo",
            "OverrideDriver",
            "UnbindDriver",
            "SetLink",
            "SetFunction",
            "ProbeDriver",
            "OverrideDriver",
            "RemoveRecord",
        ),
    ),
    "mediated device": Case(
        {"flavour": "vfio", "parent": {"device": PARENT}, "vfio": {"mediatedDevice": "mlx5_core-local"}},
        {"mdev": 1},
        nodes=2,
        made=("StoreRecord", "CreateMediated"),
        removed=("StoreRecord", "RemoveMediated", "RemoveRecord"),
    ),
}


@dataclass(frozen=True)
class Story:
    """What the program told of a case."""

    case: Case
    told: dict[str, Any]

    def done(self, way: str) -> tuple[str, ...]:
        moments = self.told[way]["moments"]
        return tuple(moment.removeprefix("done ") for moment in moments if moment.startswith("done"))


ON_7_3 = ("mlx5 in a used slot", "vhost-vdpa")
"""What differs there: a slot's address is the firmware's to remember, the PF's number; and the ways are longest."""


def _params() -> Iterator[object]:
    for name, case in CASES.items():
        real = case.parameters is None
        ground = pytest.mark.ground("real mlx5" if real else "sfsim ice" if name == "ice" else "sfsim mlx5")
        yield pytest.param((name, LINUX_6_12), marks=ground, id=f"{name}, 6.12" if real else name)
        if name in ON_7_3:
            yield pytest.param((name, LINUX_7_3), marks=ground, id=f"{name}, 7.3")


@pytest.fixture(scope="module", params=_params())
def story(request: pytest.FixtureRequest) -> Iterator[Story]:
    name, kernel = request.param
    case = CASES[name]
    with _snapshot(case, kernel).restore() as machine, kubelet(machine):
        with _ground(case, machine) as nic:
            if case.functions:
                nic.virtual_functions(WITH_FUNCTIONS.removeprefix("pci/")).make(case.functions)
            code = f"import runpy; runpy.run_path('{PROGRAMS}/life.py', run_name='__main__')"
            env = {"SPEC": json.dumps(case.spec), **({"USED": PARENT} if case.used else {})}
            said = machine.python(code, timeout=900, env=env).stdout
            yield Story(case, json.loads(said.splitlines()[-1]))
        machine.console.check()


def _snapshot(case: Case, kernel: Kernel) -> Snapshot:
    if case.parameters is None:
        return build_snapshot(MLX5, kernel)
    return build_snapshot(IOMMU) if case.functions else build_snapshot()


def _ground(case: Case, machine: Machine) -> contextlib.AbstractContextManager[Nic]:
    if case.parameters is None:
        return fresh(machine)
    return loaded(machine, switchdev=1, **case.parameters)


@contextlib.contextmanager
def kubelet(machine: Machine) -> Iterator[None]:
    program = machine.spawn(["/venv/bin/python", f"{PROGRAMS}/kubelet.py", "/run/life/kubelet"], name="kubelet")
    machine.run("until [ -S /run/life/kubelet/pod-resources/kubelet.sock ]; do sleep 0.1; done", timeout=30)
    yield
    program.signal(9)


def assert_whole(case: Case, seen: dict[str, Any]) -> None:
    assert (seen["state"], seen["mismatch"]) == ("ready", None)
    assert len(seen["nodes"]) >= case.nodes
    assert all(is_device for _, is_device in seen["nodes"]), seen["nodes"]
    match case.spec["flavour"]:
        case "vfio" if case.functions:
            assert seen["functions"][seen["device"]] == "vfio-pci"
        case "vfio":
            assert seen["mediated"] == [seen["device"]]
        case flavour:
            assert_port(seen)
            assert flavour != "virtio" or seen["vdpa"] == {seen["device"]: driver(case)}


def driver(case: Case) -> str:
    return str(case.spec.get("virtio", {}).get("driver", "vhost-vdpa")).replace("-", "_")


def assert_port(seen: dict[str, Any]) -> None:
    (port,) = seen["ports"].values()
    assert (port["pfnum"], port["sfnum"], port["controller"], seen["number"]) == (0, 1, 0, 1)
    function = port["function"]
    assert (function["hw_addr"], function["state"], function["opstate"]) == (MAC, "active", "attached")
    assert len(function["nested_devlink"]) == 1


def test_one_call_makes_it_whole_on_its_bus(story: Story) -> None:
    assert story.told["made"]["error"] is None
    assert_whole(story.case, story.told["whole"])


def test_the_record_comes_first_and_ready_comes_last(story: Story) -> None:
    done = story.done("made")
    assert done[: len(story.case.made)] == story.case.made
    assert done[-1] == "StoreRecord"


def test_a_second_call_does_nothing(story: Story) -> None:
    assert story.told["again"]["moments"] == []


def test_it_goes_in_order_and_leaves_the_kernel_as_it_was(story: Story) -> None:
    assert story.done("removed") == story.case.removed
    assert story.told["gone"] == story.told["clean"]


def test_each_moment_of_the_way_was_tried_and_each_killed(story: Story) -> None:
    moments = len(story.told["made"]["moments"]) + len(story.told["removed"]["moments"])
    assert len(story.told["kills"]) == moments > 8
    assert {code for _, _, code, _, _ in story.told["kills"]} == {-9}


def test_what_was_begun_is_finished_once_and_as_the_same(story: Story) -> None:
    for action, moment, _, taken_up, after in story.told["kills"]:
        if action == "create":
            assert taken_up["error"] is None, moment
            assert_whole(story.case, after)


def test_what_was_being_removed_is_removed(story: Story) -> None:
    for action, moment, _, taken_up, after in story.told["kills"]:
        if action == "delete":
            assert taken_up["error"] is None, moment
            assert after == story.told["clean"], moment
