"""The chart is upgraded under load: no pod loses its device, and no device is given twice.

`helm install` and `helm upgrade` are the real ones, with the chart's kinds, roles and policy, and each agent has a
token of its own pod. The DaemonSet controller is played: node by node, both DaemonSets of a node at once, which is the
worst that it may do with `maxUnavailable` at its default and three nodes. What else is played: `whole/cluster.py`.
"""

import json
import math
import sys

import pytest

from components.audit import Account
from components.helm import NAMESPACE
from whole.cluster import NAMES, WholeCluster
from whole.load import Load, Tenancy, clashes
from whole.waiting import until

SCALES = (5, 3, 4)


def test_an_upgrade_under_load_takes_no_device_from_a_pod(
    cluster: WholeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.pools.apply("fast", 3)
    cluster.pools.until_ready(9)
    cluster.until_counted(3)
    held = {name: cluster.pods.run(f"old-{name}", name) for name in NAMES}
    asked = [Account.of(cluster.plane.audit_log, NAMESPACE, f"subfunction-{each}") for each in ("agent", "controller")]
    with Load(cluster.pods, NAMES) as load:
        until("each node has served one", load.served, lambda served: min(served.values()) >= 1)
        cluster.release.upgrade("logFormat=json", "agent.surveyInterval=4", "devicePlugin.resendHeld=30")
        cluster.roll_out_controller("upgraded")
        away = {}
        for name, replicas in zip(NAMES, SCALES, strict=True):
            cluster.pools.scale("fast", replicas)
            away[name] = cluster.roll_out(name)
        rolled = load.served()
        until("each node serves again", load.served, lambda served: all(served[name] > rolled[name] for name in NAMES))

    members = {each["metadata"]["uid"]: each["status"] for each in cluster.pools.until_ready(3 * SCALES[-1])}
    cluster.until_true()
    assert until("it is led", cluster.leader, bool) == "upgraded"
    for name, seen in held.items():
        [container] = cluster.pods.get(f"old-{name}")["status"]["containerStatuses"]
        assert (container["ready"], container["restartCount"]) == (True, 0)
        assert members[seen["SUBFUNCTION_UID"]]["device"]["id"] == seen["SUBFUNCTION_DEVICE"]
        assert members[seen["SUBFUNCTION_UID"]]["allocatedTo"]["name"] == f"old-{name}"
    always = [Tenancy(f"old-{name}", seen["SUBFUNCTION_UID"], -math.inf, math.inf) for name, seen in held.items()]
    assert clashes([*always, *load.tenancies]) == []
    for worker in cluster.workers.values():
        for daemon in worker.daemons.values():
            assert json.loads(daemon.process.log.read_text().splitlines()[0]), "it runs as the chart says now"
    assert [each for account in asked for each in account.refused()] == []

    refusals = cluster.pods.refusals
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(load.tenancies)} pods came and went in an upgrade; without its programs a node was for "
        )
        sys.stdout.write(", ".join(f"{each.ended - each.began:.0f} s" for each in away.values()))
        sys.stdout.write(f"; {len(refusals)} pods were refused then\n")
    assert [each for each in refusals if not away[each.node].explains(each)] == []
