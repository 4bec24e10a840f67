"""One node to kill agents on: a served kernel, an API server and a kubelet here, the agent in a process of its own."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

from matrix.flavours import Flavour
from matrix.moments import FENCE, Order, Orders
from matrix.sight import paths, sight
from matrix.zygote import Agent, Zygote, ended
from rig.cluster import COLLECTION, Cluster
from subfunction.kernel.address import Mac
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction_operator.settings import Settings

NAME: Final = "blue"
QUIET_SECONDS: Final = 0.08
"""Nobody works any more when no moment was written down for so long."""
PATIENCE: Final = 15.0
"""Seconds after which something that should have happened will not."""

_PAUSE: Final = 0.004
_STACKS_SECONDS: Final = 0.3
_FOREIGN: Final = 1
"""The number of somebody else's sub-function, which is there from the start and must not be touched."""


class Late(Exception):  # noqa: N818  # it is the time that has passed
    """What was waited for did not happen."""


@dataclasses.dataclass(slots=True)
class Stage:
    """A node, and the one agent that runs on it."""

    cluster: Cluster
    zygote: Zygote
    settings: Settings
    orders: Orders
    baseline: list[str]
    clean: list[str]
    _agent: int | None = None
    _started: int = 0

    # --- the agent ---

    async def ready(self) -> None:
        """Start an agent, and wait until it has its first list of objects and nothing to do."""
        before = len(self.moments)
        self.start()
        await self.until(lambda: "after names" in self.moments[before:], "the agent has its first list")
        await self.quiet()

    def start(self) -> None:
        """Start an agent."""
        self._started += 1
        self._agent = self.zygote.start(Agent(self.settings, self.cluster.root).run, self._log(self._started))

    @property
    def dead(self) -> bool:
        """Whether the agent has ended."""
        assert self._agent is not None
        return ended(self._agent)

    async def killed(self) -> None:
        """Wait until the agent has died as ordered.

        Raises:
            Late: it lives on.
        """
        await self.until(lambda: self.dead, "the agent comes to the moment at which it is to die")
        self.bury()

    def bury(self) -> None:
        """Collect an agent that died as ordered.

        Raises:
            Late: it died of something else.
        """
        self.orders.give(None)
        self._collect()

    def kill(self) -> None:
        """Kill the agent from outside, wherever it is."""
        assert self._agent is not None
        os.kill(self._agent, signal.SIGKILL)
        self._collect()

    def _collect(self) -> None:
        pid, self._agent = self._agent, None
        assert pid is not None
        code = self.zygote.end(pid)
        if code != -signal.SIGKILL:
            raise Late(f"the agent was to be killed, and ended with {code}")

    async def last_words(self) -> str:
        """Give the end of the last agent's log, and where each of its threads stands if it lives."""
        if self._agent is not None and not self.dead:
            os.kill(self._agent, signal.SIGUSR1)
            await asyncio.sleep(_STACKS_SECONDS)
        log = self._log(self._started)
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def _log(self, number: int) -> Path:
        return self.cluster.root / f"agent-{number}.log"

    @property
    def moments(self) -> list[str]:
        """What the agents did up to now."""
        return self.orders.noted()

    # --- people ---

    async def create(self, spec: dict[str, Any]) -> None:
        """Make the object."""
        await self.cluster.apply(NAME, **spec)

    async def change(self, spec: dict[str, Any]) -> None:
        """Change its spec."""
        await self.cluster.change(NAME, **spec)

    async def delete(self) -> None:
        """Delete it."""
        await self.cluster.delete(NAME)

    async def object(self) -> dict[str, Any] | None:
        """Give the object as the API server has it."""
        async with self.cluster.session.get(f"{self.cluster.server.url}{COLLECTION}/{NAME}") as response:
            found = await response.json()
            return found if response.status == 200 and isinstance(found, dict) else None

    # --- waiting ---

    async def until(self, condition: Callable[[], bool], what: str, *, within: float = PATIENCE) -> None:
        """Wait for a condition.

        Raises:
            Late: it does not come.
        """
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                raise Late(f"not within {within:g} s: {what}")
            await asyncio.sleep(_PAUSE)

    async def quiet(self) -> None:
        """Wait until the agent has done nothing for a while."""
        last, since = len(self.moments), time.monotonic()
        deadline = since + PATIENCE
        while time.monotonic() - since < QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise Late(f"the agent does not come to rest; it did {self.moments[-6:]}")
            await asyncio.sleep(_PAUSE)
            if (now := len(self.moments)) != last:
                last, since = now, time.monotonic()


@contextlib.asynccontextmanager
async def staged(flavour: Flavour, zygote: Zygote) -> AsyncIterator[Stage]:
    """Set a node up in a folder of its own; whatever runs on it ends with it."""
    memory = Path("/dev/shm")  # noqa: ASYNC240  # in memory where that is, since every record is fsynced
    with tempfile.TemporaryDirectory(prefix="crash", dir=memory if memory.is_dir() else None) as folder:  # noqa: ASYNC240
        cluster = Cluster(Path(folder), flavour.topology)
        cluster.kernel.tree.trigger(FENCE, lambda _: None)
        async with cluster:
            foreign(cluster)
            settings = cluster.settings(usage_interval=0.1, attach_deadline=5.0, kernel_deadline=5.0, resync=30.0)
            root = cluster.root / "kernel" / "sys"
            stage = Stage(cluster, zygote, settings, Orders(cluster.root), sight(cluster.kernel), paths(root))
            try:
                yield stage
            finally:
                if stage._agent is not None:
                    with contextlib.suppress(Late):
                        stage.kill()


def foreign(cluster: Cluster) -> None:
    """Let somebody else make a sub-function on the parent, where there can be one."""
    handle = cluster.kernel.topology.parents[0].handle
    theirs = Devlink(Netlink(cluster.kernel.transport()))
    index = theirs.new_port(handle, pf=0, number=_FOREIGN).index
    cluster.kernel.sub_function(handle, _FOREIGN).mac = Mac.parse("02:aa:aa:aa:aa:aa")
    theirs.set_active(handle, index, active=True)
    cluster.kernel.settle()
