"""Who holds a device, as plugin and kubelet say; what cannot be read counts as held."""

import asyncio
import socket
import time
from pathlib import Path

import msgspec
import pytest

from rig.cluster import Cluster
from subfunction.errors import SubFunctionError
from subfunction.state.claims import PortClaim
from subfunction.state.ledger import open_ledger
from subfunction.state.records import Record, State
from subfunction_operator.agent.model.observation import Usage
from subfunction_operator.agent.observe.usage import Kubelet, UsageReader
from subfunction_simulator.kubelet.pods import Container, Pod

RECORD = Record(
    uid="uid-blue",
    name="blue",
    boot_id="boot",
    state=State.READY,
    claim=PortClaim(flavour="mlx5", parent="pci/0000:03:00.0", pf=0, number=1, mac_address="02:00:00:00:00:01"),
    resource="subfunction.dev/mlx5",
    device_id="mlx5_core.sf.2",
)
DRAINING = msgspec.structs.replace(RECORD, state=State.DRAINING)
POD = Pod("pod-1", "default", "trainer", (Container("app", {RECORD.resource: 1}),))


def asked(root: Path) -> Kubelet:
    return Kubelet(root, root / "device-plugins")


def holders(node: Cluster) -> UsageReader:
    return UsageReader(node.ledger, asked(node.root / "kubelet"))


async def usage(node: Cluster, record: Record | None, *, refresh: bool = False) -> Usage:
    return await asyncio.to_thread(holders(node).usage, record, refresh=refresh)


async def test_what_was_never_offered_is_held_by_nobody_and_nobody_is_asked(tmp_path: Path) -> None:
    nobody = UsageReader(open_ledger(tmp_path / "ledger"), asked(tmp_path / "no kubelet"))
    assert nobody.usage(None, refresh=True) == Usage()
    assert not nobody.usage(msgspec.structs.replace(DRAINING, device_id=""), refresh=True).in_use


async def test_while_it_is_offered_the_ledger_alone_is_looked_at(tmp_path: Path) -> None:
    nobody = UsageReader(open_ledger(tmp_path / "ledger"), asked(tmp_path / "no kubelet"))
    assert nobody.usage(RECORD, refresh=False) == Usage(refreshed=False)
    assert nobody.usage(RECORD, refresh=True).in_use


async def test_a_kubelet_that_says_nothing_of_it_leaves_it_free(node: Cluster) -> None:
    assert await usage(node, DRAINING) == Usage()
    assert await usage(node, RECORD, refresh=True) == Usage()


async def test_an_entry_of_the_ledger_holds_it_before_the_kubelet_knows(node: Cluster) -> None:
    node.hand_out(RECORD)
    for record in (RECORD, DRAINING):
        found = await usage(node, record)
        assert found.in_use
        assert "handed" in found.why


async def test_an_entry_that_cannot_be_read_holds_it(node: Cluster) -> None:
    node.ledger.path.mkdir()
    (node.ledger.path / f"{RECORD.uid}.json").write_text("torn")
    assert (await usage(node, RECORD)).in_use
    assert (await usage(node, DRAINING)).in_use


async def test_a_pod_of_the_kubelets_is_named(node: Cluster) -> None:
    node.give(POD, RECORD)
    found = await usage(node, DRAINING)
    assert found.in_use
    assert found.by is not None
    assert (found.by.namespace, found.by.name, found.by.container) == ("default", "trainer", "app")
    assert "default/trainer" in found.why
    node.take_back(POD)
    assert not (await usage(node, DRAINING)).in_use


async def test_an_init_container_that_only_the_checkpoint_knows_holds_it(node: Cluster) -> None:
    node.give(POD, RECORD)
    node.kubelet.pods.clear()  # PodResources names it no more, and the file is as it was
    found = await usage(node, DRAINING)
    assert found.in_use
    assert "pod-1" in found.why


async def test_a_device_id_that_was_promised_under_another_uid_holds_the_other_one(node: Cluster) -> None:
    node.give(POD, msgspec.structs.replace(RECORD, uid="uid-other"))
    node.kubelet.pods.clear()
    assert not (await usage(node, DRAINING)).in_use
    other = msgspec.structs.replace(DRAINING, uid="uid-other", device_id="mlx5_core.sf.9")
    assert (await usage(node, other)).in_use


@pytest.mark.parametrize("trouble", ["kubelet down", "checkpoint torn", "checkpoint foreign", "folder gone"])
async def test_what_cannot_be_read_holds_it_and_says_the_same_each_time(node: Cluster, trouble: str) -> None:
    folder = node.root / "kubelet" / "device-plugins"
    checkpoint = folder / "kubelet_internal_checkpoint"
    if trouble == "kubelet down":
        await node.kubelet.stop()
    elif trouble == "checkpoint torn":
        checkpoint.write_text('{"Data": {"PodDev')
    elif trouble == "checkpoint foreign":
        checkpoint.write_text("[]")
    else:
        folder.rename(node.root / "elsewhere")
    found = [await usage(node, DRAINING) for _ in range(2)]
    if trouble == "folder gone":
        (node.root / "elsewhere").rename(folder)
    assert found[0].in_use
    assert "cannot be told" in found[0].why
    assert found[0] == found[1]


async def test_those_who_ask_together_share_an_answer_that_is_not_older_than_their_question(node: Cluster) -> None:
    together = UsageReader(node.ledger, asked(node.root / "kubelet"))
    node.give(POD, RECORD)
    found = await asyncio.gather(*(asyncio.to_thread(together.usage, DRAINING, refresh=True) for _ in range(8)))
    assert all(each.in_use for each in found)
    node.take_back(POD)
    assert not (await asyncio.to_thread(together.usage, DRAINING, refresh=True)).in_use


async def test_a_kubelet_that_hangs_costs_one_deadline_however_many_devices_are_held(tmp_path: Path) -> None:
    socket_path = tmp_path / "pod-resources" / "kubelet.sock"
    socket_path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(socket_path))
        deaf.listen()  # and accepts nobody
        hung = Kubelet(tmp_path, tmp_path / "device-plugins", deadline=1.0)
        began = time.monotonic()
        for _ in range(40):
            with pytest.raises(SubFunctionError):
                await asyncio.to_thread(hung.snapshot)
        assert time.monotonic() - began < 2.0  # twice its deadline


async def test_a_kubelet_that_is_back_is_heard_at_once(node: Cluster) -> None:
    await node.kubelet.stop()
    kubelet = asked(node.root / "kubelet")
    with pytest.raises(SubFunctionError):
        await asyncio.to_thread(kubelet.snapshot)
    await node.kubelet.start()
    for _ in range(100):
        try:
            await asyncio.to_thread(kubelet.snapshot)
            break
        except SubFunctionError:
            await asyncio.sleep(0.01)
    else:
        pytest.fail("it is not heard within a second")


async def test_a_kubelet_forgets_a_pod_that_has_ended_though_nobody_else_asks_it(node: Cluster) -> None:
    """Else an id that an ended pod had before a reboot would be offered to nobody, and so no pod would ever come."""
    reminded = asked(node.root / "kubelet")
    await asyncio.to_thread(reminded.refresh)
    node.give(POD, RECORD)
    await asyncio.to_thread(reminded.refresh)
    assert [held.pod_uid for held in node.kubelet.table.allocations] == [POD.uid]
    node.kubelet.remove(POD.uid)
    node.start_agent()
    await node.until(lambda: node.kubelet.table.allocations == [], "the kubelet still knows the pod")
