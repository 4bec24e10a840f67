"""A cluster of three nodes in its bad days: in the end every kernel holds exactly what the objects say.

Each test leaves the three nodes up and without sub-functions.
"""

import time
from collections.abc import Iterator

import pytest

from whole_cluster import MLX5, NAMES, WholeCluster, until, whole_cluster

OUTAGE = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[WholeCluster]:
    with whole_cluster() as cluster:
        yield cluster


def test_a_pool_spreads_over_the_nodes_and_pods_get_what_the_kernels_have(cluster: WholeCluster) -> None:
    cluster.apply_pool("fast", 2)
    found = cluster.until_ready(6)
    assert sorted(each["spec"]["nodeName"] for each in found) == sorted(NAMES * 2)
    cluster.until_true()
    for name in NAMES:
        cluster.until_counted(name, 2)
        uid = cluster.run_pod(f"pod-{name}", name)["SUBFUNCTION_UID"]
        assert uid in {each["metadata"]["uid"] for each in found if each["spec"]["nodeName"] == name}
    for name in NAMES:
        cluster.delete_pod(f"pod-{name}")
    cluster.delete_pool("fast")
    cluster.until_true()


def test_a_node_that_dies_keeps_its_objects_until_its_node_is_deleted(cluster: WholeCluster) -> None:
    cluster.apply_pool("fast", 1)
    before = {each["metadata"]["uid"] for each in cluster.until_ready(3)}
    cluster.kill("worker-3")
    cluster.scale("fast", 2)
    until(
        "the others are scaled",
        cluster.objects,
        lambda found: len([each for each in found if each["spec"]["nodeName"] != "worker-3"]) == 4,
    )
    assert before <= {each["metadata"]["uid"] for each in cluster.objects()}
    cluster.kubectl.kubectl("delete", "node", "worker-3")
    # The garbage collector's part, of which there is none here.
    cluster.kubectl.kubectl("delete", "sfnode", "worker-3")
    cluster.until_ready(4)
    cluster.start("worker-3")
    cluster.until_ready(6)
    cluster.until_true()
    cluster.delete_pool("fast")
    cluster.until_true()


def test_a_node_that_reboots_has_the_same_sub_functions_and_pods_get_them(cluster: WholeCluster) -> None:
    cluster.apply_pool("fast", 2)
    cluster.until_ready(6)
    cluster.until_true()
    before = cluster.workers["worker-2"].kernel()
    worker = cluster.reboot("worker-2")
    assert worker.kernel() == set()
    until("its kernel is as before", worker.kernel, before.__eq__)
    cluster.until_counted("worker-2", 2)
    cluster.run_pod("after", "worker-2")
    cluster.delete_pod("after")
    cluster.delete_pool("fast")
    cluster.until_true()


def test_with_the_api_server_away_for_a_minute_pods_get_the_devices_that_exist(cluster: WholeCluster) -> None:
    cluster.apply_pool("fast", 1)
    found = {each["spec"]["nodeName"]: each["metadata"]["uid"] for each in cluster.until_ready(3)}
    for name in NAMES:
        cluster.until_counted(name, 1)
    kernels = {name: worker.kernel() for name, worker in cluster.workers.items()}
    began = time.monotonic()
    cluster.plane.stop_server()
    for name in NAMES:
        assert cluster.run_static_pod("alone", name)["SUBFUNCTION_UID"] == found[name]
    time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
    assert {name: worker.kernel() for name, worker in cluster.workers.items()} == kernels
    cluster.plane.start_server()
    cluster.until_ready(3)
    until("each pod is named", lambda: [each["status"].get("allocatedTo") for each in cluster.objects()], all)
    for worker in cluster.workers.values():
        worker.machine.run("rm /run/worker/pods/alone.json")
    cluster.delete_pool("fast")
    cluster.until_true()


def test_a_controller_that_is_killed_is_succeeded_and_nothing_is_made_twice(cluster: WholeCluster) -> None:
    cluster.start_controller("second")
    cluster.apply_pool("fast", 4)
    until("some are made", cluster.objects, lambda found: len(found) >= 2)
    assert cluster.leader() == "first"
    cluster.kill_controller("first")
    # It may have made them all; what comes now is the other's work.
    until("the second leads", cluster.leader, "second".__eq__)
    cluster.until_ready(12)
    cluster.scale("fast", 1)
    cluster.until_ready(3)
    cluster.until_true()
    cluster.delete_pool("fast")
    cluster.until_true()


def test_an_upgrade_under_load_takes_no_device_from_a_pod(cluster: WholeCluster) -> None:
    """What `helm upgrade` has a cluster do to each node: the agents anew, the device plugins anew, one by one."""
    cluster.apply_pool("fast", 2)
    cluster.until_ready(6)
    for name in NAMES:
        cluster.until_counted(name, 2)
    before = {name: cluster.run_pod(f"old-{name}", name) for name in NAMES}
    for name, worker in cluster.workers.items():
        worker.restart_agent()
        worker.restart_plugin()
        other = cluster.run_pod(f"new-{name}", name)
        assert other["SUBFUNCTION_UID"] != before[name]["SUBFUNCTION_UID"], MLX5
    found = {each["metadata"]["uid"] for each in cluster.until_ready(6)}
    assert {seen["SUBFUNCTION_UID"] for seen in before.values()} <= found
    cluster.until_true()
    for name in NAMES:
        cluster.delete_pod(f"old-{name}")
        cluster.delete_pod(f"new-{name}")
    cluster.delete_pool("fast")
    cluster.until_true()
