"""Each example's sub-functions become Ready as they stand, on a node that has what the example asks for."""

from pathlib import Path

import pytest
import yaml

from rig.cluster import cluster
from subfunction_simulator.kernel.topology import SHOWROOM

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "example", sorted(path.parent for path in EXAMPLES.glob("*/subfunction.yaml")), ids=lambda path: path.name
)
async def test_an_example_works_as_it_stands(root: Path, example: Path) -> None:
    manifests = list(yaml.safe_load_all((example / "subfunction.yaml").read_text()))
    assert manifests
    async with cluster(root, SHOWROOM) as node:
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
