"""A look at all records that fails for a moment is made again; the agent does not end by it."""

import pytest
from tests.reported.lives import agent_goes_on

from rig.cluster import Cluster, quiet
from subfunction.errors import FolderError


@pytest.mark.xfail(
    strict=True,
    raises=FolderError,
    reason="issue H: records that cannot be listed at a resync end the agent",
)
async def test_the_agent_outlives_records_that_cannot_be_listed_for_a_moment(agent_node: Cluster) -> None:
    node = agent_node
    node.start_agent(resync=0.3)
    await node.apply()
    await node.until_ready()
    await quiet(node, 0.3)
    kept = node.records.path.rename(node.root / "kept")
    # ENAMETOOLONG, for want of an easy way to EMFILE or EIO.
    node.records.path.symlink_to("x" * 300)
    await agent_goes_on(node)
    node.records.path.unlink()
    kept.rename(node.records.path)
    await node.apply("green")
    await node.until_ready("green")
