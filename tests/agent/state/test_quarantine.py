"""Records that are none: moved aside, said, and the kernel taken up again."""

import pytest

from rig.cluster import Cluster, quiet
from subfunction.state.records import State


@pytest.mark.parametrize(
    "content",
    ["", '{"schema": 1, "uid"', '{"schema": 99}', "[]"],
    ids=["empty", "torn", "of another schema", "foreign"],
)
async def test_a_record_that_cannot_be_read_is_moved_aside_with_an_event_and_the_kernel_is_adopted_again(
    node: Cluster, content: str
) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    before = node.kernel.describe()
    # A thread that still works when its agent is cancelled would write the record anew, as no dead process does.
    await quiet(node, 0.5)
    await node.stop_agent()
    (node.records.path / f"{ready.uid}.json").write_text(content)
    node.start_agent()
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
    await quiet(node, 0.5)
    assert [path.name for path in (node.records.path / "aside").iterdir()] == [f"{ready.uid}.json"]
    assert ("Warning", "RecordUnreadable") in [(kind, reason) for kind, reason, _ in await node.events()]
    assert node.kernel.describe() == before


async def test_a_record_torn_while_the_agent_runs_is_noticed_at_once_and_the_device_stays(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    before = node.kernel.describe()
    await quiet(node, 0.5)
    (node.records.path / f"{ready.uid}.json").write_text("torn")
    (node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json").write_text("{}")
    await node.until(lambda: len(list(node.records.path.glob("aside/*"))) == 2, "both aside")
    await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
    assert node.kernel.describe() == before
    assert ("Warning", "RecordUnreadable") in [(kind, reason) for kind, reason, _ in await node.events()]


async def test_a_record_whose_claim_is_nonsense_does_not_end_the_agent(node: Cluster) -> None:
    node.start_agent()
    await node.apply()
    ready = await node.until_ready()
    await quiet(node, 0.3)
    await node.stop_agent()
    path = node.records.path / f"{ready.uid}.json"
    for good, bad in (("pci/0000:03:00.0", "nonsense"), (ready.status.mac_address or "", "zz")):
        path.write_text(path.read_text().replace(good, bad))
        node.start_agent()
        # Until all is quiet: a thread of an agent that was stopped in the middle writes on, as no dead process does.
        await node.until(lambda: getattr(node.records.read(ready.uid), "state", None) is State.READY, "another record")
        await quiet(node, 0.3)
        await node.stop_agent()
    assert len(list(node.records.path.glob("aside/*"))) == 2
    assert node.numbers() == [1]


async def test_a_file_that_is_nobodys_record_is_moved_aside_and_no_work_stops(node: Cluster) -> None:
    node.records.path.mkdir()
    (node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json").write_text("torn")
    (node.records.path / "no uid at all.json").write_text("{}")
    node.start_agent()
    await node.apply()
    await node.until_ready()
    await node.until(lambda: len(list(node.records.path.glob("aside/*"))) == 2, "both aside")


async def test_nothing_is_moved_aside_before_the_objects_are_known(node: Cluster) -> None:
    node.records.path.mkdir()
    path = node.records.path / "0f0f0f0f-0000-4000-8000-00000000ffff.json"
    path.write_text("torn")
    node.server.stop()
    node.start_agent()
    await quiet(node, 0.3)
    assert path.exists()
