"""A folder of the node that is removed under a container, and made anew beside it: the container begins anew too.

A container sees each folder by a mount of its own, which goes on to show the one that was removed; inotify tells
nothing. Only a container that starts again gets the folder that is there now.
"""

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

import pytest
from tests.deviceplugin.conftest import RESOURCE, Node
from tests.reported.lives import ended, plugin_command, running

from rig.cluster import Cluster

FOLDERS: Final = ("devices", "allocations")


def in_a_container(root: Path, command: list[str]) -> list[str]:
    """Give a command that runs another one with the node's folders mounted below `inside`."""
    lines = []
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)
        (root / "inside" / name).mkdir(parents=True)
        lines.append(f"mount --bind {root / name} {root / 'inside' / name}")
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    lines.append(f"exec {shlex.join(command)}")
    return ["unshare", "--mount", "--propagation", "private", *mapped, "sh", "-euc", "\n".join(lines)]


def remove_and_make_anew(root: Path) -> None:
    for name in FOLDERS:
        shutil.rmtree(root / name)
        (root / name).mkdir()


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: the device plugin lists a folder that was removed, and does not see the one that is there",
)
async def test_the_device_plugin_ends_when_its_folders_are_removed_on_the_node(plugin_node: Node) -> None:
    node = plugin_node
    inside = {"records": node.root / "inside" / "devices", "ledger": node.root / "inside" / "allocations"}
    await node.start_kubelet()
    async with running(in_a_container(node.root, plugin_command(node, **inside)), node.root / "log") as process:
        node.agent.device("blue", "mlx5_core.sf.4")
        await node.allocatable(1)
        remove_and_make_anew(node.root)
        node.agent.device("blue", "mlx5_core.sf.4")
        node.agent.device("green", "mlx5_core.sf.5")
        assert await ended(process, 3.0), f"it offers {node.kubelet.allocatable()[RESOURCE]} of two devices, and stays"


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: the agent writes its records into a folder that was removed, and stays",
)
async def test_the_agent_ends_when_its_folders_are_removed_on_the_node(agent_node: Cluster) -> None:
    node = agent_node
    inside = {"records": node.root / "inside" / "devices", "ledger": node.root / "inside" / "allocations"}
    async with running(in_a_container(node.root, node.command(**inside, resync=0.5)), node.root / "log") as process:
        await node.apply()
        await node.until_ready()
        remove_and_make_anew(node.root)
        assert await ended(process, 3.0), f"it stays; of its records the node has {list(node.records.path.iterdir())}"
