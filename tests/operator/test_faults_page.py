"""docs/faults.md is what `kubectl describe` prints of each fault, made here; `make docs` writes it anew."""

import asyncio
import functools
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from rig.cluster import Cluster, cluster
from rig.world import PARENT
from subfunction.api import ConditionType, SubFunction
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.uapi import EswitchMode
from subfunction.reasons import Reason
from subfunction_simulator.kernel import Operation, Parent, Topology
from subfunction_simulator.kubectl import kubectl
from subfunction_simulator.kubelet.pods import Container, Pod

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LEGACY, UNABLE, SMALL = "pci/0000:05:00.0", "pci/0000:06:00.0", "pci/0000:07:00.0"
TOPOLOGY = Topology(
    parents=(
        Parent(bdf=PARENT.device, netdev="enp3s0np0", virtual_functions=4, functions_per_group=2),
        Parent(bdf="0000:05:00.0", netdev="enp5s0np0", mode=EswitchMode.LEGACY),
        Parent(bdf="0000:06:00.0", netdev="enp6s0np0", sub_functions=False),
        Parent(bdf="0000:07:00.0", netdev="enp7s0np0", capacity=1),
    ),
    modules=("mlx5_ib", "mlx5_vdpa", "vfio_pci"),
)
EIO = 5


class Fault(NamedTuple):
    """What a person sees: the reason, when, the name of the object, its spec, and what happened before."""

    reason: Reason
    when: str
    name: str
    spec: dict[str, Any]
    prelude: Callable[[Cluster], Awaitable[None]] | None = None


async def foreign(node: Cluster) -> None:
    Devlink(Netlink(node.kernel.transport())).new_port(PARENT, pf=0, number=88)


async def crowd(node: Cluster) -> None:
    await node.apply("only", parent={"device": SMALL})
    await node.until_ready("only")


async def break_the_driver(node: Cluster) -> None:
    node.kernel.faults.fail_next(Operation.PROBE, EIO, times=100)


async def hold(node: Cluster, name: str) -> None:
    made = await node.apply(name, number=20 if name == "busy" else 21)
    await node.until_ready(name)
    record = node.records.read(made.uid)
    assert record is not None
    node.give(Pod(f"pod-{name}", "default", f"user-of-{name}", (Container("app", {record.resource: 1}),)), record)
    node.hand_out(record)


async def change_what_is_held(node: Cluster) -> None:
    await hold(node, "busy")
    await node.change("busy", macAddress="02:53:46:00:00:01")


async def delete_what_is_held(node: Cluster) -> None:
    await hold(node, "leaving")
    await node.delete("leaving")


FAULTS = (
    Fault(
        Reason.PARENT_NOT_FOUND,
        "The node has no such parent, or another driver has it.",
        "absent",
        {"parent": {"device": "pci/0000:99:00.0"}},
    ),
    Fault(
        Reason.NOT_SWITCHDEV,
        "Sub-functions need the e-switch in switchdev mode; the agent never changes it, since"
        " that ends every function of the card.",
        "legacy",
        {"parent": {"device": LEGACY}},
    ),
    Fault(
        Reason.KERNEL_TOO_OLD,
        "Kernel, driver or firmware has no sub-functions.",
        "unable",
        {"parent": {"device": UNABLE}},
    ),
    Fault(Reason.FULL, "The firmware has no room for another one.", "crowded", {"parent": {"device": SMALL}}, crowd),
    Fault(Reason.NUMBER_TAKEN, "Another SubFunction of the node has the number.", "second", {"number": 1}),
    Fault(
        Reason.FOREIGN,
        "Somebody made a sub-function of that number by hand or by script.",
        "theirs",
        {"number": 88},
        foreign,
    ),
    Fault(
        Reason.UNSUPPORTED,
        "The spec asks for something that cannot be had together, or that the driver does not offer.",
        "contradiction",
        {"capabilities": {"roce": False}},
    ),
    Fault(
        Reason.BRIDGE_NOT_FOUND,
        "The representor should be in a bridge that the node does not have.",
        "bridged",
        {"representor": {"bridge": "br0"}},
    ),
    Fault(
        Reason.DRIVER_NOT_LOADED,
        "The driver that would use the device is not in the kernel.",
        "unloaded",
        {"flavour": "virtio"},
    ),
    Fault(
        Reason.NO_VIRTUAL_FUNCTION,
        "The parent has no virtual function of that index.",
        "missing",
        {"flavour": "vfio", "vfio": {"virtualFunction": 9}},
    ),
    Fault(
        Reason.GROUP_SHARED,
        "VFIO gives an IOMMU group away whole, and others of it are in use by the host.",
        "shared",
        {"flavour": "vfio", "vfio": {"virtualFunction": 0}},
    ),
    Fault(
        Reason.NO_MEDIATED_TYPE,
        "No upstream NIC driver offers mediated devices.",
        "mediated",
        {"flavour": "vfio", "vfio": {"mediatedDevice": "mlx5_core-local"}},
    ),
    Fault(
        Reason.RESOURCE_NAME_CONFLICT,
        "One resource name stands for one flavour on a node.",
        "contested",
        {"flavour": "virtio", "resourceName": "subfunction.dev/mlx5"},
    ),
    Fault(
        Reason.CHANGE_PENDING,
        "A change that would interrupt the device waits until no pod has it.",
        "busy",
        {},
        change_what_is_held,
    ),
    Fault(
        Reason.DRAINING,
        "It is deleted as soon as its pod has ended; the pod is named.",
        "leaving",
        {},
        delete_what_is_held,
    ),
    Fault(
        Reason.PROBE_FAILED,
        "The function is active, and its driver did not come up.",
        "broken",
        {"number": 30},
        break_the_driver,
    ),
)
HEAD = """# Faults, as `kubectl describe sf` shows them

Whatever stands in the way is on the object: in the condition `Ready`, with the kernel's own words and what to type
next, and once as an Event. Here are those that people meet, each as a test produces it on the simulated kernel
(`tests/operator/test_faults_page.py`; `make docs` writes this page). Lines that do not matter are left out.
"""


async def test_the_page_shows_each_fault_as_kubectl_prints_it(root: Path) -> None:
    async with cluster(root, TOPOLOGY) as node:
        node.start_agent(attach_deadline=0.2)
        await node.apply("first", number=1)
        await node.until_ready("first")
        blocks = [HEAD]
        for fault in FAULTS:
            if fault.prelude is not None:
                await fault.prelude(node)
            if await node.get(fault.name) is None:
                await node.apply(fault.name, **fault.spec)
            await node.until_object(functools.partial(_says, fault.reason), fault.name)
            blocks.append(f"## {fault.reason}\n\n{fault.when}\n\n{await _described(node, fault.name)}")
        page = "\n".join(blocks)
    if os.environ.get("SUBFUNCTION_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "type `make docs`, and look at what changed"


def _says(reason: Reason, seen: SubFunction) -> bool:
    condition = seen.status.condition(ConditionType.READY)
    return condition is not None and condition.reason == reason


async def _described(node: Cluster, name: str) -> str:
    """Ask until the Event is there too, which comes after the condition."""
    for _ in range(20):
        block, announced = await _asked(node, name)
        if announced:
            return block
        await asyncio.sleep(0.1)
    raise AssertionError(f"no Event of {name}: {block}")


async def _asked(node: Cluster, name: str) -> tuple[str, bool]:
    """Give what kubectl prints, without what differs from run to run and what says nothing here."""
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        "--kubeconfig",
        str(node.kubeconfig),
        "describe",
        "sf",
        name,
        env={**os.environ, "HOME": str(node.root)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    text = re.sub(r"\beth\d+\b", "eth7", said.decode())
    spec = re.search(r"^Spec:\n((?:  .*\n)+)", text, re.MULTILINE)
    ready = re.search(
        r"    Message: +(.*)\n    Observed Generation: +\d+\n    Reason: +(.*)\n    Status: +(.*)\n    Type: +Ready\n",
        text,
    )
    phase = re.search(r"^  Phase: +(\w+)$", text, re.MULTILINE)
    assert spec is not None
    assert ready is not None
    assert phase is not None
    message, reason, status = ready.groups()
    events = _events(text, reason)
    block = "\n".join(
        (
            f"    $ kubectl describe sf {name}",
            "    Spec:",
            *(f"    {line}" for line in spec[1].splitlines()),
            "    Status:",
            "      Conditions:",
            f"        Message:  {message}",
            f"        Reason:   {reason}",
            f"        Status:   {status}",
            "        Type:     Ready",
            f"      Phase:  {phase[1]}",
            *events,
            "",
        )
    )
    return block, bool(events)


def _events(text: str, reason: str) -> list[str]:
    rows = text.partition("\nEvents:\n")[2].splitlines()[2:]
    found = [re.split(r"\s{2,}", row.strip(), maxsplit=4) for row in rows if row.strip()]
    told = [f"      {row[0]}  {row[1]}  {row[-1][:60]}..." for row in found if row[1] == reason]
    return ["    Events:", told[-1]] if told else []
