"""docs/faults.md is what `kubectl describe` prints of each fault, made here; `make docs` writes it anew."""
# ruff: noqa: E501 - a cell of a table is one line

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from fleet.fleet import Fleet
from rig.cluster import NODE, Cluster
from rig.world import PARENT
from subfunction.api.conditions import Condition, ConditionType
from subfunction.api.reasons import Reason
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import Operation, Parent, Topology
from subfunction_simulator.kubectl import kubectl
from subfunction_simulator.kubelet.pods import Container, Pod

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
LEGACY, UNABLE, SMALL, PAIR, WITHOUT = (f"pci/0000:0{n}:00.0" for n in (5, 6, 7, 8, 9))
TOPOLOGY = Topology(
    parents=(
        Parent(bdf=PARENT.device, netdev="enp3s0np0", virtual_functions=4, functions_per_group=2),
        Parent(bdf="0000:05:00.0", netdev="enp5s0np0", mode=EswitchMode.LEGACY),
        Parent(bdf="0000:06:00.0", netdev="enp6s0np0", sub_functions=False),
        Parent(bdf="0000:07:00.0", netdev="enp7s0np0", capacity=1),
        Parent(bdf="0000:08:00.0", netdev="enp8s0np0", capacity=2),
        Parent(bdf="0000:09:00.0", netdev="enp9s0np0", built_with_sub_functions=False),
    ),
    modules=("mlx5_ib", "mlx5_vdpa", "vfio_pci"),
)
EIO = 5
HELD = ("busy", "leaving", "outlived")


class Fault(NamedTuple):
    """What a person sees: the reason, when, the name of the object, its spec, and what happened before."""

    reason: Reason
    when: str
    name: str
    spec: dict[str, Any]
    prelude: Callable[[Cluster], Awaitable[None]] | None = None


async def foreign(node: Cluster) -> None:
    Devlink(Netlink(node.kernel.transport())).create_port(PARENT, pf=0, number=88)


async def crowd(node: Cluster) -> None:
    await node.apply("only", parent={"device": SMALL})
    await node.until_ready("only")


async def break_the_driver(node: Cluster) -> None:
    node.kernel.faults.fail_next(Operation.PROBE, EIO, times=100)


async def hold(node: Cluster, name: str) -> None:
    made = await node.apply(name, number=20 + HELD.index(name))
    await node.until_ready(name)
    record = node.records.read(made.uid)
    assert record is not None
    node.give(Pod(f"pod-{name}", "default", f"user-of-{name}", (Container("app", {record.resource: 1}),)), record)
    node.hand_out(record)
    await node.until_object(lambda seen: seen.status.allocated_to is not None, name)


async def lose_what_is_held(node: Cluster) -> None:
    await hold(node, "outlived")
    held = await node.until_ready("outlived")
    assert held.status.device is not None
    node.kernel.unbind_function(held.status.device.id)


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
        "Sub-functions need the e-switch in switchdev mode. The agent changes it only as [switchdev.md](switchdev.md)"
        " says, since that ends every function of the card.",
        "legacy",
        {"parent": {"device": LEGACY}},
    ),
    Fault(
        Reason.KERNEL_TOO_OLD,
        "The firmware has no sub-functions, or the kernel lacks what we need.",
        "unable",
        {"parent": {"device": UNABLE}},
    ),
    Fault(
        Reason.KERNEL_WITHOUT_SUB_FUNCTIONS,
        "The driver was built without sub-functions, as that of Debian is.",
        "without",
        {"parent": {"device": WITHOUT}},
    ),
    Fault(Reason.FULL, "The firmware has no room for another one.", "crowded", {"parent": {"device": SMALL}}, crowd),
    Fault(Reason.NUMBER_TAKEN, "Another SubFunction of the node has the number.", "second", {"number": 1}),
    Fault(
        Reason.FOREIGN,
        "A person or a script has made a sub-function of that number.",
        "theirs",
        {"number": 88},
        foreign,
    ),
    Fault(
        Reason.UNSUPPORTED,
        "The spec asks for something that this node or the driver does not offer.",
        "unoffered",
        {"resourceName": "example.org/nic"},
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
        Reason.STALE_ALLOCATION,
        "The device went away under its pod (a driver that was unbound, a reset of the card) and was made anew. The"
        " pod has the old one, and its status says `Unhealthy` of it.",
        "outlived",
        {},
        lose_what_is_held,
    ),
    Fault(
        Reason.NO_NODE_FITS,
        "The controller found no node for one that names none; each node's obstacle is counted.",
        "homeless",
        {"nodeName": None, "nodeSelector": {"nic": "fast"}},
    ),
    Fault(
        Reason.PROBE_FAILED,
        "The function is active, and its driver did not come up.",
        "broken",
        {"number": 30},
        break_the_driver,
    ),
)
POOLS = (
    Fault(
        Reason.FULL,
        "More are asked for than fit. Those that fit are made; the rest come when there is room. Scale it back"
        " (`kubectl scale sfpool crowd --replicas=2`), or have the firmware give more. `status.replicas` is what the parent"
        " furthest from the wish has, so an autoscaler sees the truth.",
        "crowd",
        {"replicas": 3, "parents": [{"device": PAIR}]},
    ),
    Fault(
        Reason.PARENT_NOT_FOUND,
        "No selected node has the parent that is named: the pool has nothing to do, and says so. A parent that one"
        " node has and another has not is no fault: pools are for nodes that differ.",
        "nowhere",
        {"parents": [{"device": "pci/0000:99:00.0"}]},
    ),
    Fault(
        Reason.READY,
        "Scaled to nothing (`kubectl scale sfpool none --replicas=0`) it is ready. Those that no pod has are gone; those"
        " that pods have are on their way out until these pods end, and `IN-USE` counts them.",
        "none",
        {"replicas": 0, "parents": [{"device": str(PARENT)}]},
    ),
    Fault(
        Reason.NO_AGENT,
        "A node that the pool selects has no agent that says what it can do. A node without such a card needs no label"
        " that selects it.",
        "everywhere",
        {"nodeSelector": {"nic": "yes"}},
    ),
    Fault(
        Reason.ROLLING,
        "The template changed, and not all are as it says yet. With `OnDelete` it stays so until you delete them; with"
        " `RollingUpdate` the message names the nodes that are waited for.",
        "rolled",
        {"parents": [{"device": str(PARENT)}], "updateStrategy": {"type": "OnDelete"}},
    ),
)
OTHERS = {
    Reason.READY: ("all", "all is as asked"),
    Reason.PLACED: ("`Placed`", "it has a node"),
    Reason.CREATED: ("`Created`", "the kernel has it"),
    Reason.ATTACHED: ("`Active`", "its function is active, and its driver attached"),
    Reason.BOUND: ("`Bound`", "it is on the bus of its use, with its driver"),
    Reason.CONNECTED: ("`Connected`", "its representor is there"),
    Reason.OFFERED: ("`Allocatable`", "pods can have it"),
    Reason.FREE: ("`InUse`", "no pod has it"),
    Reason.IN_USE: ("`InUse`", "a pod has it; the message names the pod, and so does `status.allocatedTo`"),
    Reason.PENDING: (
        "`Ready` and others",
        "nothing stands in the way but time. Longer than a minute: `kubectl logs` of the agent on that node (of the controller, on a pool)",
    ),
    Reason.ATTACHING: (
        "`Ready`",
        "the kernel is at work: its driver probes. It ends by itself, or as `ProbeFailed` after `agent.attachDeadline`",
    ),
    Reason.STILL_ATTACHED: (
        "`Ready`",
        "a driver has not let go since the function was taken down. It ends by itself; longer than a minute: `dmesg` of the node for hung tasks",
    ),
    Reason.RETURNING: (
        "`Ready`",
        "its netdev came back from a pod, and is given its name, MAC and MTU again. It ends by itself",
    ),
    Reason.HELD_OPEN: (
        "`Ready`, `InUse`",
        "the kernel waits until a process closes the device. `fuser -v /dev/vhost-vdpa-* /dev/vfio/*` on the node names it; end it",
    ),
    Reason.FORCED: (
        "`Ready`, Event",
        "`deletionPolicy: Force` takes the device from the pod that the message names. Delete that pod, whose device is gone",
    ),
    Reason.RDMA_EXCLUSIVE: (
        "`Allocatable`",
        "pods can have it, but not its RDMA device: `rdma system set netns shared` on the node before anything uses RDMA, or an rdma CNI plugin for the pod that knows auxiliary devices ([delivery.md](delivery.md))",
    ),
    Reason.NUMBERS_EXHAUSTED: (
        "`Ready`",
        "every number of the range is taken on this parent: delete sub-functions there, or widen `agent.firstNumber` and `agent.lastNumber`, or the parent's entry of `agent.numberRanges`",
    ),
    Reason.INVALID: ("`Ready`", "the kernel finds a value wrong; the message has its own words. Mend the spec"),
    Reason.KERNEL_REFUSED: (
        "`Ready`",
        "the kernel refused; the message has the command and its words. `dmesg` of the node says more. It is tried again by itself",
    ),
    Reason.KERNEL_BUSY: (
        "`Ready`",
        "the kernel did not answer within `agent.kernelDeadline`. `dmesg` of the node for hung tasks; firmware that is being updated or reset does this for minutes; on Linux 7.3 a reload of the card under an active sub-function for ever ([kernels.md](kernels.md)). It is tried again by itself",
    ),
    Reason.CARD_FAILED: (
        "`Ready`",
        "the card's firmware is in a fatal state, or refuses a query that its driver needs; the message has the commands that bring it back. It is tried again by itself",
    ),
    Reason.MALFORMED_REPLY: (
        "`Ready`",
        "an answer of the kernel that cannot be what it claims to be. Report it, with `uname -r` and the agent's log",
    ),
    Reason.NOT_PERMITTED: (
        "`Ready`",
        "the agent lacks a privilege; the message names the line of its manifest. Compare with `helm get manifest` ([security](security.md))",
    ),
    Reason.RECORD_UNREADABLE: (
        "Event",
        "a file of the agent's (`/run/subfunction/devices`) could not be read and was moved aside; the kernel was looked at instead. Nothing is to be done; who writes there?",
    ),
    Reason.RECORD_NOT_WRITTEN: (
        "`Ready`",
        "`/run/subfunction` of the node cannot be written: full (`df /run`), or read-only. It is tried again by itself",
    ),
    Reason.API_REFUSED: (
        "trouble of a pool, metrics",
        "the API server would not have it; the message has its words: a quota, a policy, a webhook, a role that was changed",
    ),
    Reason.API_UNAVAILABLE: (
        "metrics, logs",
        "the API server does not answer; on no object, since none can be written. What exists goes on working",
    ),
    Reason.ID_TAKEN: (
        "Allocate's refusal, the device plugin's log",
        "a pod was promised another sub-function under this id, or this one under another. It ends when that pod is deleted",
    ),
    Reason.UNKNOWN_DEVICE: (
        "Allocate's refusal, the device plugin's log",
        "the device went away between list and Allocate, or a container holds what no record names. A new pod will do",
    ),
    Reason.NOT_READY: (
        "Allocate's refusal, the device plugin's log",
        "the agent finds the device unfit, or has not verified it since the boot; `kubectl describe sf` says why",
    ),
}
"""Where the words stand that are no fault by themselves, or that a simulated kernel does not bring about, and what to do."""
HEAD = """# Faults, as `kubectl describe sf` shows them

Whatever stands in the way is on the object: in the condition `Ready`, with the kernel's own words and what to type
next, and once as an Event. Here are those that people meet, each as a test produces it on the simulated kernel
(`tests/agent/test_faults_page.py`; `make docs` writes this page). Lines that do not matter are left out. Pools come after
them, and all other words of `Reason:` stand in a table [at the end](#all-other-reasons).
"""
POOL_HEAD = """# On a SubFunctionPool

A pool's `Ready` has the reason of the first node in trouble, `status.trouble` has each node's (up to 32): any of the words here.
"""
TAIL = """# All other reasons

| reason | stands in | means, and what to do |
|---|---|---|
"""


async def test_the_page_shows_each_fault_as_kubectl_prints_it(root: Path) -> None:
    async with Fleet(root, TOPOLOGY) as node:
        await node.add_machine(NODE, {"here": "yes"})
        await node.add_machine("worker-2", {"nic": "yes"})
        node.start_agent(attach_deadline=0.2)
        node.start_controller()
        await node.apply("first", number=1)
        await node.until_ready("first")
        of_pools = [await _pool_in(fault, node) for fault in POOLS]
        of_objects = [await _object_in(fault, node) for fault in FAULTS]
        rows = (f"| `{reason}` | {place} | {means} |" for reason, (place, means) in sorted(OTHERS.items()))
        page = "\n".join([HEAD, *of_objects, POOL_HEAD, *of_pools, TAIL + "\n".join(rows), ""])
    if os.environ.get("SUBFUNCTION_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "type `make docs`, and look at what changed"


def test_every_reason_has_its_entry() -> None:
    shown = {fault.reason for fault in (*FAULTS, *POOLS)}
    assert shown | set(OTHERS) == set(Reason)


async def _object_in(fault: Fault, node: Cluster) -> str:
    if fault.prelude is not None:
        await fault.prelude(node)
    if await node.get(fault.name) is None:
        await node.apply(fault.name, **fault.spec)
    await node.until_object(lambda seen: _says(fault.reason, seen.status.condition(ConditionType.READY)), fault.name)
    return await _described(node, "sf", fault)


async def _pool_in(fault: Fault, node: Fleet) -> str:
    await node.apply_pool(fault.name, **{"nodeSelector": {"here": "yes"}, **fault.spec})
    if fault.reason is Reason.ROLLING:
        await node.until_pool(lambda seen: seen.status.ready == 1, fault.name)
        await node.change_pool(fault.name, template={"spec": {"mtu": 9000}})
    await node.until_pool(
        lambda seen: (
            _says(fault.reason, seen.status.condition(ConditionType.READY)) and seen.status.ready == seen.status.current
        ),
        fault.name,
    )
    return await _described(node, "sfpool", fault)


def _says(reason: Reason, condition: Condition | None) -> bool:
    return condition is not None and condition.reason == reason


async def _described(node: Cluster, kind: str, fault: Fault) -> str:
    """Ask until the Event is there too, which comes after the condition."""
    for _ in range(20):
        block, announced = await _asked(node, kind, fault.name)
        if announced:
            return f"## {fault.reason}\n\n{fault.when}\n\n{block}"
        await asyncio.sleep(0.1)
    raise AssertionError(f"no Event of {fault.name}: {block}")


async def _asked(node: Cluster, kind: str, name: str) -> tuple[str, bool]:
    """Give what kubectl prints, without what differs from run to run and what says nothing here."""
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        "--kubeconfig",
        str(node.kubeconfig),
        "describe",
        kind,
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
    rest = re.search(r"^  Phase: +\w+$|^  Trouble:\n(?:    .*\n)+", text, re.MULTILINE)
    assert spec is not None
    assert ready is not None
    message, reason, status = ready.groups()
    events = _events(text, reason)
    block = "\n".join(
        (
            f"    $ kubectl describe {kind} {name}",
            "    Spec:",
            *(f"    {line}" for line in spec[1].splitlines()),
            "    Status:",
            "      Conditions:",
            f"        Message:  {message}",
            f"        Reason:   {reason}",
            f"        Status:   {status}",
            "        Type:     Ready",
            *(f"    {line}" for line in _aligned(rest[0] if rest else "")),
            *events,
            "",
        )
    )
    return block, bool(events)


def _aligned(rest: str) -> list[str]:
    """Give the lines of an excerpt as kubectl aligns them where nothing else stands beside them."""
    return re.sub(r"^(  Phase:) +", r"\1  ", rest).splitlines()


def _events(text: str, reason: str) -> list[str]:
    rows = text.partition("\nEvents:\n")[2].splitlines()[2:]
    found = [re.split(r"\s{2,}", row.strip(), maxsplit=4) for row in rows if row.strip()]
    # How many were ready when it was said is a matter of moments.
    words = [(row[0], row[1], re.sub(r"^\d+( of \d+ ready)", r"0\1", row[-1])) for row in found if row[1] == reason]
    told = [f"      {kind}  {why}  {message[:60]}..." for kind, why, message in words]
    return ["    Events:", told[-1]] if told else []
