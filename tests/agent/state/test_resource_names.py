"""The file of the node's resource names, for a device plugin that starts before the agent."""

from rig.cluster import Cluster, quiet
from subfunction.state.resource_names import ResourceNames


async def test_the_resource_names_stand_in_a_file_and_go_with_the_last_object(node: Cluster) -> None:
    def names() -> tuple[str, ...] | None:
        found = node.resources.read("resources")
        return found.names if found else None

    node.start_agent()
    await node.apply("a")
    await node.apply("b", resourceName="example.com/fast_rdma")
    await node.until(lambda: names() == ("example.com/fast_rdma", "subfunction.dev/mlx5"), "both names")
    await node.until_ready("b")
    await node.delete("b")
    await node.until(lambda: names() == ("subfunction.dev/mlx5",), "one name less")


async def test_names_from_before_stay_until_a_list_says_that_they_are_not_wanted(node: Cluster) -> None:
    node.resources.write("resources", ResourceNames(names=("example.com/old", "subfunction.dev/mlx5")))
    written = node.resources.path / "resources.json"
    before = written.stat().st_mtime_ns
    node.server.call(lambda: node.server.api.traffic.answer_next(1000, 500, verb="list"))
    node.start_agent()
    await node.until(lambda: len(node.server.asked("list")) >= 3, "three LISTs that fail")
    await quiet(node, 0.3)
    assert written.stat().st_mtime_ns == before
    node.server.call(node.server.api.traffic.heal)
    await node.apply()
    await node.until_ready(within=15)
    await node.until(
        lambda: node.resources.read("resources") == ResourceNames(names=("subfunction.dev/mlx5",)), "the old name to go"
    )


async def test_names_that_cannot_be_written_keep_no_device_from_being_made(node: Cluster) -> None:
    node.resources.path.write_text("a file where the folder should be")
    node.start_agent()
    await node.apply()
    await node.until_ready()
