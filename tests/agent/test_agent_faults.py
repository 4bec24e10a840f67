"""What comes between the agent and its work: parents that cannot or hang, refusals, kills, its own faults."""

import asyncio
from pathlib import Path

import pytest

from rig.cluster import Cluster, cluster, says
from rig.steps import Steps
from rig.world import Killed
from subfunction.api.conditions import ConditionType
from subfunction.api.subfunction import Phase
from subfunction.errors import KernelBusy
from subfunction.kernel.address import Handle
from subfunction_operator.agent.model.steps import Activate, CreatePort, Effect, ProbeDriver
from subfunction_simulator.kernel import Kind, Operation, Parent, Topology

PARENT = Handle.parse("pci/0000:03:00.0")


async def test_a_parent_that_cannot_is_said_on_the_object_in_one_write_and_retried(root: Path) -> None:
    async with Cluster(root, Topology(parents=(Parent(bdf="0000:03:00.0", netdev="enp3s0np0", capacity=0),))) as node:
        node.start_agent()
        await node.apply()
        found = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Full"))
        assert found.status.phase == Phase.FAILED
        assert (found.status.number, found.status.parent) == (None, None)
        ready = found.status.condition(ConditionType.READY)
        assert ready is not None
        assert "No space left" in ready.message
        assert "PF_TOTAL_SF" in ready.message
        assert [(kind, reason) for kind, reason, _ in await node.until_events()] == [("Warning", "Full")]
        await node.change(representor={"adminState": "down"})
        await node.until_object(lambda seen: seen.status.observed_generation == 2)
        assert len(await node.events()) == 1
        await node.delete()
        await node.until_gone()


@pytest.mark.parametrize(
    "parent", [{"netdev": "nosuch0"}, {"selector": {"vendor": "8086"}}, {"device": "pci/0000:ff:00.0"}], ids=str
)
async def test_an_object_whose_parent_was_never_there_can_be_deleted(node: Cluster, parent: dict[str, object]) -> None:
    node.start_agent()
    await node.apply(parent=parent)
    found = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ParentNotFound"))
    assert found.status.number is None
    await node.delete()
    await node.until_gone()


async def test_an_object_on_a_kernel_without_devlink_can_be_deleted(root: Path) -> None:
    async with Cluster(root, Topology(devlink=False)) as node:
        node.start_agent()
        await node.apply()
        await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "KernelTooOld"))
        await node.delete()
        await node.until_gone()


async def test_a_port_that_somebody_deleted_comes_back_without_anybody_asking(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    await node.until_ready()
    node.kernel.lose_port(PARENT, 1)
    await node.until(lambda: node.numbers() == [1], "the port again")
    await node.until_ready()


async def test_a_parent_that_hangs_is_said_to_be_busy_keeps_what_was_known_and_holds_up_nobody_else(
    node: Cluster,
) -> None:
    node.start_agent(kernel_deadline=1.0)
    await node.apply()
    ready = await node.until_ready()
    with node.kernel.faults.hang(PARENT):
        await node.change(macAddress="02:00:5e:10:00:01")
        busy = await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "KernelBusy"))
        assert busy.status.device == ready.status.device
        assert busy.status.number == ready.status.number
        assert says(busy, ConditionType.CREATED) == ("True", "Created")
        await node.apply("other", parent={"device": "pci/0000:82:00.0"})
        await node.until_ready("other")
    assert node.numbers() == [1]


async def test_a_parent_that_answers_again_is_taken_up_at_once_and_not_at_the_next_try(
    node: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KernelBusy, "default_retry", 3600.0)
    node.start_agent(kernel_deadline=0.5)
    await node.apply()
    await node.until_ready()
    with node.kernel.faults.hang(PARENT):
        await node.delete()
        await node.apply("other")
        for name in ("blue", "other"):
            await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "KernelBusy"), name)
    await node.until_gone()
    await node.until_ready("other")


async def test_functions_that_never_attach_hold_up_no_other_and_say_so_once(node: Cluster) -> None:
    node.kernel.hold(Kind.ATTACH)
    node.start_agent(workers=2, attach_deadline=0.3)
    for number in range(4):
        await node.apply(f"stuck-{number}")
    await node.apply("bad", parent={"netdev": "nosuch0"})
    # Two workers, each held for thirty seconds a piece, would not come to this one.
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ParentNotFound"), "bad")
    for number in range(4):
        await node.until_object(
            lambda seen: says(seen, ConditionType.READY) == ("False", "ProbeFailed"), f"stuck-{number}"
        )
    node.kernel.let_go(Kind.ATTACH)


async def test_killed_in_the_middle_another_agent_goes_on(node: Cluster) -> None:
    class Mortal(Steps):
        def after(self, uid: str, step: Effect) -> None:
            super().after(uid, step)
            if isinstance(step, CreatePort):
                raise Killed

    node.start_agent(Mortal())
    await node.apply()
    with pytest.raises(BaseExceptionGroup) as ended:
        await node.agent_ends()
    assert ended.group_contains(Killed)
    assert node.numbers() == [1]
    hooks = Steps()
    node.start_agent(hooks)
    found = await node.until_ready()
    assert found.status.number == 1
    assert node.numbers() == [1]
    assert not [step for _, step in hooks.taken if isinstance(step, CreatePort)]


async def test_what_one_object_breaks_in_the_agent_is_said_there_and_the_others_go_on(node: Cluster) -> None:
    class Broken(Steps):
        def before(self, uid: str, step: Effect) -> None:
            super().before(uid, step)
            if isinstance(step, Activate) and self.first == uid:
                raise ZeroDivisionError

    node.start_agent(Broken())
    await node.apply()
    found = await node.until_object(lambda seen: (says(seen, ConditionType.READY) or ("",))[0] == "False")
    ready = found.status.condition(ConditionType.READY)
    assert ready is not None
    assert "fault of the agent" in ready.message
    await node.apply("other")
    await node.until_ready("other")


async def test_what_the_kernel_refuses_is_not_tried_again_at_once(node: Cluster) -> None:
    steps = Steps()
    node.kernel.faults.fail_next(Operation.PORT_NEW, 28, times=1000)
    node.start_agent(steps)
    await node.apply()
    await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "Full"))
    await asyncio.sleep(1.5)
    assert len([step for _, step in steps.taken if isinstance(step, CreatePort)]) <= 3


async def test_a_driver_that_refuses_is_not_asked_by_its_own_echo(root: Path) -> None:
    steps = Steps()
    async with cluster(root) as node:
        node.kernel.faults.fail_next(Operation.VDPA_PROBE, 22, times=1000)
        node.start_agent(steps, attach_deadline=0.2)
        await node.apply(flavour="virtio")
        await node.until_object(lambda seen: says(seen, ConditionType.READY) == ("False", "ProbeFailed"))
        await asyncio.sleep(1.5)
        assert len([step for _, step in steps.taken if isinstance(step, ProbeDriver)]) <= 4
