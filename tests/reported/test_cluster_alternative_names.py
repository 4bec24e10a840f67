"""A parent by an alternative name of its netdev, of which the kernel has several and lets them be long."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from rig.cluster import Cluster, cluster, is_ready
from subfunction.api.subfunction import SubFunction

LONG = "fabric-blue-port0-uplink"

LOOK = """
from pyroute2 import IPRoute

from subfunction.kernel.link import Links
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import KernelTransport

with IPRoute() as route:
    for name in ("sriov1", "fabric-blue-port0-uplink"):
        route.link("property_add", index=1, altname=name)
links = Links(Netlink(KernelTransport()))
for name in ("lo", "sriov1", "fabric-blue-port0-uplink", "another"):
    found = links.find(name)
    print(name, found.name if found else None)
"""
"""Give the loopback device two more names, and look for it by each."""


def seen_in_a_namespace_of_its_own() -> dict[str, str]:
    command = shlex.join([sys.executable, "-c", LOOK])
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    run = subprocess.run(
        ["unshare", "--net", *mapped, "sh", "-euc", f"exec {command}"], capture_output=True, text=True, check=True
    )
    return dict(line.split() for line in run.stdout.splitlines())


def test_a_netdev_is_found_by_each_of_its_names() -> None:
    assert seen_in_a_namespace_of_its_own() == {"lo": "lo", "sriov1": "lo", LONG: "lo", "another": "None"}


async def asked_for_by(node: Cluster, name: str) -> SubFunction:
    node.kernel.add_alternative_name("enp130s0np0", name)
    node.start_agent()
    await node.apply(parent={"netdev": name})
    return await node.until_object(is_ready)


async def test_a_parent_may_be_asked_for_by_a_long_name(root: Path) -> None:
    async with cluster(root) as node:
        made = await asked_for_by(node, LONG)
        assert made.spec.parent.netdev == LONG
        assert made.status.parent == "pci/0000:82:00.0"


async def test_a_parent_may_be_asked_for_by_a_short_alternative_name(root: Path) -> None:
    async with cluster(root) as node:
        assert (await asked_for_by(node, "sriov1")).status.parent == "pci/0000:82:00.0"
