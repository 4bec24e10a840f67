"""One node to kill agents on: a served kernel, an API server and a kubelet here, the agent in a process of its own."""

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from harness import leftovers
from matrix.actor import Actor, Late, until
from matrix.flavour import Flavour
from matrix.seam import FENCE, Agent
from matrix.sight import paths, sight
from matrix.zygote import Zygote
from rig.cluster import COLLECTION, Cluster
from rig.folder import folder, place
from subfunction.kernel.address import Mac
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction_operator.agent.settings import Settings

NAME: Final = "blue"
_PREFIX: Final = "crash-"
_FOREIGN: Final = 1
"""The number of somebody else's sub-function, which is there from the start and must not be touched."""


@dataclasses.dataclass(slots=True)
class Stage:
    """A node; `baseline` and `clean` are its kernel's state and its sysfs before anybody asked for anything."""

    cluster: Cluster
    zygote: Zygote
    settings: Settings
    agent: Actor
    baseline: list[str]
    clean: list[str]

    async def agent_ready(self) -> None:
        """Start an agent, and wait until it has its first list of objects and nothing to do."""
        agent = self.agent
        before = len(agent.moments)
        agent.start()
        await until(lambda: "after names" in agent.moments[before:], "the agent has its first list")
        await agent.quiet()

    async def ask(self, spec: Mapping[str, Any] | None) -> None:
        """Make the object, change it, or (None) delete it."""
        if spec is None:
            await self.cluster.delete(NAME)
        elif await self.object() is None:
            await self.cluster.apply(NAME, **spec)
        else:
            await self.cluster.change(NAME, **spec)

    async def object(self) -> dict[str, Any] | None:
        """Give the object as the API server has it."""
        async with self.cluster.session.get(f"{self.cluster.server.url}{COLLECTION}/{NAME}") as response:
            found = await response.json()
            return found if response.status == 200 and isinstance(found, dict) else None


@contextlib.asynccontextmanager
async def staged(flavour: Flavour, zygote: Zygote) -> AsyncIterator[Stage]:
    """Set a node up in a folder of its own; whatever runs on it ends with it."""
    with folder(f"{_PREFIX}{os.getpid()}-") as path:
        cluster = Cluster(Path(path), flavour.topology)
        cluster.kernel.tree.trigger(FENCE, lambda _: None)
        async with cluster:
            _foreign(cluster)
            settings = cluster.settings(
                usage_interval=0.1,
                attach_deadline=5.0,
                kernel_deadline=5.0,
                resync=30.0,
                # The way with the most files: every device has a CDI file.
                device_nodes="cdi",
                net_devices=("subfunction.dev/mlx5", "subfunction.dev/ice", "subfunction.dev/virtio"),
            )
            root = cluster.root / "kernel" / "sys"
            agent = Actor(zygote, cluster.root, "agent", lambda orders: Agent(settings, orders).run)
            try:
                yield Stage(cluster, zygote, settings, agent, sight(cluster.kernel), paths(root))
            finally:
                with contextlib.suppress(Late):
                    agent.kill()


def sweep() -> None:
    """Remove what matrices that were killed have left."""
    leftovers.sweep(place(), _PREFIX)


def _foreign(cluster: Cluster) -> None:
    """Let somebody else make a sub-function on the parent."""
    handle = cluster.kernel.topology.parents[0].handle
    theirs = Devlink(Netlink(cluster.kernel.transport()))
    index = theirs.create_port(handle, pf=0, number=_FOREIGN).index
    cluster.kernel.sub_function(handle, _FOREIGN).mac = Mac.parse("02:aa:aa:aa:aa:aa")
    theirs.set_active(handle, index, active=True)
    cluster.kernel.settle()
