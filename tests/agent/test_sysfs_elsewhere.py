"""The host's /sys at another place: what the agent records there, others find at theirs.

A container has the host's at /host/sys, since AppArmor denies writes below /sys by path; the device plugin's has it
where its own manifest says.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rig.cluster import Cluster
from subfunction.kernel.sysfs import SysfsTree
from subfunction.state.records import find_mismatch

SPECS: dict[str, dict[str, Any]] = {
    "native": {"flavour": "mlx5", "macAddress": "02:53:46:00:00:01"},
    "vhost": {"flavour": "virtio"},
    "virtio": {"flavour": "virtio", "virtio": {"driver": "virtio-vdpa"}},
}


@pytest.fixture
async def away(node: Cluster) -> AsyncIterator[Cluster]:
    """A node whose agent has the kernel's sysfs bound to another place, in a mount namespace of its own."""
    here, there = node.root / "kernel" / "sys", node.root / "host" / "sys"
    there.mkdir(parents=True)
    agent = shlex.join(node.command(usage_interval=1, sysfs=there))
    line = f"mount --bind {here} {there} && mount --make-private -t tmpfs hidden {here} && exec {agent}"
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", "--propagation", "private", *mapped, "sh", "-euc", line]
    log = (node.root / "log").open("wb")
    process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    yield node
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.wait(), 10)
    log.close()


async def test_a_witness_taken_at_host_sys_holds_at_sys(away: Cluster) -> None:
    for name, spec in SPECS.items():
        await away.apply(name, **spec)
    for name in SPECS:
        await away.until_ready(name, within=30)
    records = away.records.read_all().items.values()
    assert len(records) == len(SPECS)
    seen_by_the_plugin = SysfsTree(away.root / "kernel" / "sys")
    for record in records:
        assert record.witness.inodes
        assert find_mismatch(record.witness, seen_by_the_plugin) is None
        told = (*record.witness.inodes, *record.witness.links, *record.witness.numbers, record.parent, record.pcie_root)
        told += tuple(node.host_path for node in record.all_nodes)
        assert not any("host/sys" in each or str(away.root) in each for each in told)
    for name in SPECS:
        await away.delete(name)
    for name in SPECS:
        await away.until_gone(name, within=30)
