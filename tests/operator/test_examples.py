"""Each example's sub-functions become Ready as they stand, on a node that has what the example asks for."""

from pathlib import Path

import pytest
import yaml

from rig.cluster import cluster
from subfunction_simulator.kernel import Parent, Topology

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = Topology(
    parents=(
        Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4),
        Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
        Parent(bdf="0000:c1:00.0", netdev="ens9f0np0", driver="ice", numa_node=1),
    ),
    bridges=("br0",),
)


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
async def test_an_example_works_as_it_stands(root: Path, example: Path) -> None:
    manifests = list(yaml.safe_load_all((example / "subfunction.yaml").read_text()))
    assert manifests
    async with cluster(root, NODE) as node:
        node.start_agent()
        for manifest in manifests:
            await node.apply(manifest["metadata"]["name"], **manifest["spec"])
        for manifest in manifests:
            await node.until_ready(manifest["metadata"]["name"])
        for manifest in manifests:
            await node.delete(manifest["metadata"]["name"])
        for manifest in manifests:
            await node.until_gone(manifest["metadata"]["name"])
        assert node.numbers() == []
