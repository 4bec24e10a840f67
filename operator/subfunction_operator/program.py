"""The agent's main path, top to bottom: what it stands on, what wakes it, what ends it."""

import asyncio
import contextlib
import logging
import os
import random
from importlib.metadata import version
from typing import Final

from subfunction.errors import ApiTooOld, FolderError, KernelBusy, SubFunctionError
from subfunction.folder import Folder
from subfunction.journal import effective
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.transport import transport
from subfunction.ledger import ledger
from subfunction.listener import served
from subfunction.metrics import AgentMetrics
from subfunction.probes import Awaited, Heartbeat
from subfunction.records import Record, boot_id, records
from subfunction.resources import resources
from subfunction_operator.agent import Agent
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.credentials import Credentials
from subfunction_operator.execute import Executor
from subfunction_operator.holders import Holders, Kubelet
from subfunction_operator.metering import MeteredSteps, phases, troubles
from subfunction_operator.node import Node
from subfunction_operator.nodeclient import NodeClient
from subfunction_operator.nodereporter import NodeReporter
from subfunction_operator.nodestatus import About
from subfunction_operator.observation import Policy
from subfunction_operator.observe import Observer
from subfunction_operator.paperfolders import PaperFolders
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.seam import LoggedSteps, Seam
from subfunction_operator.serverversion import refuse_old
from subfunction_operator.settings import Settings
from subfunction_operator.signals import until_stopped
from subfunction_operator.survey import Surveyor
from subfunction_operator.traffic import counted
from subfunction_operator.wakeups import woken_by_devices, woken_by_devlink, woken_by_folder, woken_by_links
from subfunction_operator.watch import Watch

_LOG = logging.getLogger("subfunction.program")

_FIRST_LIST: Final = "the first LIST of this node's SubFunctions"
_FIRST_LOOK: Final = "the first look at the kernel"
_RETRY_SECONDS = 2.0
_SPREAD: Final = 0.1
"""How far the time between two LISTs is off, either way."""


async def run(settings: Settings, seam: Seam | None = None) -> None:
    """Work until SIGTERM or Ctrl-C; `seam` hears of each step.

    Raises:
        SubFunctionError: it cannot even begin (no kubeconfig, no netlink).
    """
    _LOG.info("subfunction-operator agent %s: %s", version("subfunction"), effective(settings))
    metrics, heartbeat, awaited = AgentMetrics(), Heartbeat("main"), Awaited(_FIRST_LIST, _FIRST_LOOK)
    credentials = Credentials.found(settings.kubeconfig, client="subfunction-agent")
    async with credentials.session(counted(metrics)) as session:
        server = ApiServer(session, credentials.server, settings.node_name)
        agent = _agent(settings, server, seam, metrics)
        reporter = _reporter(settings, server, agent, awaited)
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


def _agent(settings: Settings, server: ApiServer, seam: Seam | None, metrics: AgentMetrics) -> Agent:
    def flavour(uid: str) -> str:
        return agent.flavour(uid)

    metered = MeteredSteps(seam or LoggedSteps(), metrics, flavour)
    sysfs = SysfsTree(settings.sysfs)
    folder, handed_out = records(settings.records), ledger(settings.ledger)
    papers = PaperFolders(settings.cdi_folder, settings.device_info_folder)
    _swept(papers, folder)
    reconciler = Reconciler(
        Observer(
            sysfs,
            folder,
            papers,
            Holders(handed_out, Kubelet(settings.kubelet_root, settings.kubelet_folder)),
            boot_id(settings.boot_id),
        ),
        Executor(sysfs, folder, papers, metered),
        Policy(
            range(settings.first_number, settings.last_number + 1),
            str(settings.devices),
            settings.resource_domains,
            settings.device_nodes,
            settings.net_devices,
        ),
    )
    node = Node(transport(settings.netlink), reconciler, settings.kernel_deadline, settings.attach_deadline)
    agent = Agent(node, server, folder, resources(settings.state), settings.usage_interval, metered, metrics)
    metrics.sub_functions.source = lambda: phases(agent.objects())
    metrics.not_ready.source = lambda: troubles(agent.objects())
    metrics.backlog.source = agent.backlog.lengths
    return agent


def _swept(papers: PaperFolders, folder: Folder[Record]) -> None:
    """Clear away what an earlier agent left for others to read; what cannot be cleared harms no device."""
    try:
        for path in papers.sweep(folder):
            _LOG.info("removed %s, which no record names", path)
    except FolderError as error:
        _LOG.warning("%s", error)


def _reporter(settings: Settings, server: ApiServer, agent: Agent, awaited: Awaited) -> NodeReporter:
    def looked(error: SubFunctionError | None) -> None:
        if error is not None:
            agent.metrics.failed(error.reason)
        if isinstance(error, KernelBusy):
            awaited.failed(_FIRST_LOOK, str(error))
        else:
            awaited.came(_FIRST_LOOK)  # a kernel that can do nothing has been looked at too

    return NodeReporter(
        Surveyor(SysfsTree(settings.sysfs), agent.records),
        transport(settings.netlink),
        NodeClient(server),
        About(version("subfunction"), os.uname().release),
        agent.named,
        pace=settings.survey_interval,
        deadline=settings.kernel_deadline,
        looked=looked,
    )


async def _resynced(agent: Agent, reporter: NodeReporter, interval: float) -> None:
    """Look at the whole node every `interval` seconds: a file that somebody took away announces nothing."""
    while True:
        await asyncio.sleep(interval)
        agent.look_at_all_soon()
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
