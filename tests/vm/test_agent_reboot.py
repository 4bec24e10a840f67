"""A node that reboots: a fresh machine with an empty kernel and an empty /run, and the cluster that was there before."""

from node_in_vm import OTHER, PARENT, api_server, running
from conftest import loaded
from harness.snapshot import Snapshot

OBJECTS = {
    "blue": {"flavour": "mlx5", "number": 77},
    "green": {"flavour": "mlx5", "macAddress": "02:53:46:00:00:01"},
    "vhost": {"flavour": "virtio"},
    "other": {"flavour": "mlx5", "parent": {"device": OTHER}},
}


def test_numbers_and_addresses_are_those_of_before_and_each_is_ready_again(snapshot: Snapshot) -> None:
    with api_server() as cluster:
        with snapshot.restore() as machine, loaded(machine, switchdev=1) as sfsim, running(sfsim, cluster) as node:
            first_boot = node.shell("cat /proc/sys/kernel/random/boot_id")
            # Made and gone again: the numbers that are left are not those a fresh node would choose.
            node.made("early")
            for name, spec in OBJECTS.items():
                cluster.apply(name, **spec)
            before = {name: node.until_ready(name) for name in OBJECTS}
            node.removed("early")
            node.kill_agent()
        transitions = {name: cluster.ready(name)["lastTransitionTime"] for name in OBJECTS}

        with snapshot.restore() as machine, loaded(machine, switchdev=1) as sfsim:
            assert sfsim.ports("pcisf") == {}
            assert machine.run("ls /run/subfunction", check=False).code != 0
            assert machine.run("cat /proc/sys/kernel/random/boot_id").stdout != first_boot
            with running(sfsim, cluster) as node:
                for name in OBJECTS:
                    node.until(
                        lambda name=name: list(sfsim.ports("pcisf").values()),  # type: ignore[misc]
                        lambda ports: len(ports) == len(OBJECTS),
                    )
                    node.until(lambda: sfsim.machine.run("ls /run/subfunction/devices").stdout.split(), lambda f: len(f) == len(OBJECTS))
                after = {name: node.until_ready(name) for name in OBJECTS}
                for name, status in after.items():
                    assert (status["number"], status["macAddress"]) == (
                        before[name]["number"],
                        before[name]["macAddress"],
                    )
                    function = node.port(status)
                    assert (function["sfnum"], function["function"]["hw_addr"]) == (
                        before[name]["number"],
                        before[name]["macAddress"],
                    )
                assert transitions
                node.empty()
