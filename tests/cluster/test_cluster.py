"""A cluster of three nodes in its bad days: in the end every kernel holds exactly what the objects say.

What of Kubernetes is played here stands in `whole/cluster.py`.
"""

import time

from whole.cluster import NAMES, WholeCluster
from whole.waiting import until

OUTAGE = 60.0


def test_a_pool_spreads_over_the_nodes_and_pods_get_what_the_kernels_have(cluster: WholeCluster) -> None:
    cluster.pools.apply("fast", 2)
    found = cluster.pools.until_ready(6)
    assert sorted(each["spec"]["nodeName"] for each in found) == sorted(NAMES * 2)
    cluster.until_true()
    cluster.until_counted(2)
    for name in NAMES:
        uid = cluster.pods.run(f"pod-{name}", name)["SUBFUNCTION_UID"]
        assert uid in {each["metadata"]["uid"] for each in found if each["spec"]["nodeName"] == name}
    assert cluster.pods.refusals == []


def test_a_node_that_dies_keeps_its_objects_until_its_node_is_deleted(cluster: WholeCluster) -> None:
    cluster.pools.apply("fast", 1)
    before = {each["metadata"]["uid"] for each in cluster.pools.until_ready(3)}
    cluster.kill("worker-3")
    cluster.pools.scale("fast", 2)
    until(
        "the others are scaled",
        cluster.pools.members,
        lambda found: len([each for each in found if each["spec"]["nodeName"] != "worker-3"]) == 4,
    )
    assert before <= {each["metadata"]["uid"] for each in cluster.pools.members()}
    cluster.delete_node("worker-3")
    cluster.pools.until_ready(4)
    cluster.start("worker-3")
    cluster.pools.until_ready(6)
    cluster.until_true()


def test_a_node_that_reboots_has_the_same_sub_functions_and_pods_get_them(cluster: WholeCluster) -> None:
    cluster.pools.apply("fast", 2)
    cluster.pools.until_ready(6)
    cluster.until_true()
    before = cluster.workers["worker-2"].kernel()
    cluster.reboot("worker-2")
    until("its kernel is as before", cluster.workers["worker-2"].kernel, before.__eq__)
    cluster.until_counted(2)
    cluster.pods.run("after", "worker-2")
    cluster.until_true()


def test_with_the_api_server_away_for_a_minute_pods_get_the_devices_that_exist(cluster: WholeCluster) -> None:
    cluster.pools.apply("fast", 1)
    found = {each["spec"]["nodeName"]: each["metadata"]["uid"] for each in cluster.pools.until_ready(3)}
    cluster.until_counted(1)
    kernels = {name: worker.kernel() for name, worker in cluster.workers.items()}
    began = time.monotonic()
    with cluster.without_api_server():
        for name in NAMES:
            assert cluster.pods.run_static("alone", name)["SUBFUNCTION_UID"] == found[name]
        time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
        assert {name: worker.kernel() for name, worker in cluster.workers.items()} == kernels
    cluster.pools.until_ready(3)
    members = cluster.pools.members
    until("each pod is named", lambda: [each["status"].get("allocatedTo") for each in members()], all)
    cluster.until_true()


def test_a_controller_that_is_killed_is_succeeded_and_nothing_is_made_twice(cluster: WholeCluster) -> None:
    cluster.start_controller("another")
    cluster.pools.apply("fast", 4)
    until("some are made", cluster.pools.members, lambda found: len(found) >= 2)
    killed = until("somebody leads", cluster.leader, bool)
    cluster.kill_controller(killed)
    # It may have made them all; what comes now is the other's work.
    until("the other one leads", cluster.leader, lambda leader: leader in cluster.replicas)
    cluster.pools.until_ready(12)
    cluster.pools.scale("fast", 1)
    cluster.pools.until_ready(3)
    cluster.until_true()
