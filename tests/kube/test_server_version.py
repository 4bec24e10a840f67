"""Which clusters an agent works in."""

import pytest

from rig.cluster import Cluster
from subfunction.errors import ApiTooOld
from subfunction_operator.kube.server_version import parse_version
from subfunction_simulator.apiserver import ApiServer


async def test_an_older_kubernetes_is_refused_with_what_is_missing(node: Cluster) -> None:
    async with ApiServer() as old:
        old.minor = 31
        node.kubeconfig.write_text(old.kubeconfig())
        node.start_agent()
        with pytest.raises(ApiTooOld) as refused:
            await node.agent_ends()
    assert str(refused.value) == (
        "Kubernetes v1.31.2+simulator is too old: 1.32 or newer is needed. "
        "Upgrade the cluster: by selectableFields an agent watches its own node's objects alone."
    )


async def test_one_that_cannot_be_reached_is_asked_again(node: Cluster) -> None:
    async with ApiServer() as old:
        old.minor = 31
        node.kubeconfig.write_text(old.kubeconfig())
        old.traffic.answer_next(1, 503, resource="/version")
        node.start_agent()
        with pytest.raises(ApiTooOld):
            await node.agent_ends()
        assert sum(asked.resource == "/version" for asked in old.traffic.requests) == 2


async def test_one_that_does_not_tell_its_version_is_taken_for_new_enough(node: Cluster) -> None:
    node.server.call(lambda: node.server.api.traffic.answer_next(1, 403, resource="/version"))
    node.start_agent()
    await node.apply()
    await node.until_ready()


@pytest.mark.parametrize(
    ("major", "minor", "found"),
    [("1", "32", (1, 32)), ("1", "32+", (1, 32)), ("1", "", None), ("2", "0", (2, 0)), (1, 32, None)],
)
def test_versions_are_read_as_providers_write_them(major: object, minor: object, found: object) -> None:
    assert parse_version({"major": major, "minor": minor, "gitVersion": "v1"}) == found
