"""The agent's main path, top to bottom: what it stands on, what wakes it, what ends it."""

import asyncio
import contextlib
import logging
import random
from importlib.metadata import version
from typing import Final

from subfunction.errors import ApiTooOld, SubFunctionError
from subfunction.journal import effective
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.transport import transport
from subfunction.ledger import ledger
from subfunction.listener import served
from subfunction.metrics import AgentMetrics
from subfunction.probes import Awaited, Heartbeat
from subfunction_operator import assembly
from subfunction_operator.agent import Agent
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.assembly import FIRST_LOOK
from subfunction_operator.credentials import Credentials
from subfunction_operator.holders import Kubelet
from subfunction_operator.nodereporter import NodeReporter
from subfunction_operator.seam import LoggedSteps, Seam
from subfunction_operator.serverversion import refuse_old
from subfunction_operator.settings import Settings
from subfunction_operator.signals import until_stopped
from subfunction_operator.traffic import counted
from subfunction_operator.wakeups import woken_by_devices, woken_by_devlink, woken_by_folder, woken_by_links
from subfunction_operator.watch import Watch

_LOG = logging.getLogger("subfunction.program")

_FIRST_LIST: Final = "the first LIST of this node's SubFunctions"
_RETRY_SECONDS = 2.0
_SPREAD: Final = 0.1
"""How far the time between two LISTs is off, either way."""


async def run(settings: Settings, seam: Seam | None = None) -> None:
    """Work until SIGTERM or Ctrl-C; `seam` hears of each step.

    Raises:
        SubFunctionError: it cannot even begin (no kubeconfig, no netlink).
    """
    _LOG.info("subfunction-operator agent %s: %s", version("subfunction"), effective(settings))
    metrics, heartbeat, awaited = AgentMetrics(), Heartbeat("main"), Awaited(_FIRST_LIST, FIRST_LOOK)
    credentials = Credentials.found(settings.kubeconfig, client="subfunction-agent")
    async with credentials.session(counted(metrics)) as session:
        server = ApiServer(session, credentials.server, settings.node_name)
        agent = assembly.agent(settings, server, seam or LoggedSteps(), metrics)
        reporter = assembly.reporter(settings, server, agent, awaited)
        kernel = transport(settings.netlink)
        announcements = Netlink(kernel)
        reopened = asyncio.Event()
        reopened.set()
        try:
            with (
                Watch(
                    credentials,
                    settings.node_name,
                    lambda found, deleted: agent.seen(found, deleted=deleted),
                    reopened.set,
                    metrics=metrics,
                ) as watch,
                served(settings.listen, metrics, awaited, heartbeat, watch.heartbeat),
            ):
                await until_stopped(
                    agent.backlog.work(agent.work, settings.workers),
                    heartbeat.beating(),
                    _compared(agent, reporter, reopened, settings.relist, awaited),
                    _resynced(agent, reporter, settings.resync),
                    woken_by_devlink(agent, reporter.wake, announcements),
                    woken_by_devices(agent, reporter.wake, kernel),
                    woken_by_links(agent, kernel),
                    woken_by_folder(agent, reporter.wake, ledger(settings.ledger)),
                    woken_by_folder(agent, reporter.wake, agent.records),
                    reporter.report(),
                    _reminded(Kubelet(settings.kubelet_root, settings.kubelet_folder), settings.usage_interval),
                )
        finally:
            agent.node.stop()
            reporter.stop()
            announcements.close()
    _LOG.info("stopped")


async def _resynced(agent: Agent, reporter: NodeReporter, interval: float) -> None:
    """Look at the whole node every `interval` seconds: a file that somebody took away announces nothing."""
    while True:
        await asyncio.sleep(interval)
        agent.attention.look_at_all_soon()
        reporter.compare()


async def _compared(
    agent: Agent, reporter: NodeReporter, reopened: asyncio.Event, interval: float, awaited: Awaited
) -> None:
    """Compare with a LIST at the start, whenever the watch was opened anew, and about every `interval` seconds.

    Raises:
        ApiTooOld: the cluster is of a Kubernetes that lacks what we rely on.
    """
    greeted = False
    while True:
        with contextlib.suppress(TimeoutError):
            # Agents that began together (a roll-out, an API server that came back) list each at its own time.
            async with asyncio.timeout(interval * random.uniform(1 - _SPREAD, 1 + _SPREAD)):  # noqa: S311  # no secret
                await reopened.wait()
        reopened.clear()
        try:
            if not greeted:
                await refuse_old(agent.server)
                greeted = True
            await agent.compare()
            agent.metrics.listed()
            awaited.came(_FIRST_LIST)
            reporter.listed()
        except ApiTooOld:
            raise
        except SubFunctionError as error:
            agent.metrics.failed(error.reason)
            awaited.failed(_FIRST_LIST, str(error))
            _LOG.warning("no comparison with a LIST: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
            reopened.set()


async def _reminded(kubelet: Kubelet, interval: float) -> None:
    """Have the kubelet forget the pods that have ended, at a fixed pace: nothing announces their end."""
    while True:
        try:
            await asyncio.to_thread(kubelet.remind)
        except SubFunctionError as error:
            _LOG.debug("the kubelet was not reminded: %s", error)
        await asyncio.sleep(interval)
