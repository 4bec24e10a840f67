"""What the agent is put together from, by its settings."""

import logging
import os
from importlib.metadata import version
from typing import Final

from subfunction.errors import FolderError, KernelBusy, SubFunctionError
from subfunction.folder import Folder
from subfunction.kernel.sysfs import SysfsTree
from subfunction.kernel.transport import transport
from subfunction.ledger import ledger
from subfunction.metrics import AgentMetrics
from subfunction.probes import Awaited
from subfunction.records import Record, boot_id, records
from subfunction.resources import resources
from subfunction_operator.agent import Agent
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.attention import Attention
from subfunction_operator.backlog import Backlog
from subfunction_operator.execute import Executor
from subfunction_operator.holders import Holders, Kubelet
from subfunction_operator.keptnames import KeptNames
from subfunction_operator.metering import MeteredSteps, phases, troubles
from subfunction_operator.node import Node
from subfunction_operator.nodeclient import NodeClient
from subfunction_operator.nodereporter import NodeReporter
from subfunction_operator.nodestatus import About
from subfunction_operator.objects import Objects
from subfunction_operator.observation import Policy
from subfunction_operator.observe import Observer
from subfunction_operator.paperfolders import PaperFolders
from subfunction_operator.reconcile import Reconciler
from subfunction_operator.seam import Seam
from subfunction_operator.settings import Settings
from subfunction_operator.survey import Surveyor
from subfunction_operator.tornrecords import TornRecords
from subfunction_operator.writes import Writes

_LOG = logging.getLogger("subfunction.program")

FIRST_LOOK: Final = "the first look at the kernel"


def agent(settings: Settings, server: ApiServer, seam: Seam, metrics: AgentMetrics) -> Agent:
    """Put the agent together; `seam` hears of each step, `metrics` what there is to count."""
    objects, backlog, folder = Objects(), Backlog(), records(settings.records)
    metered = MeteredSteps(seam, metrics, objects.flavour)
    metrics.sub_functions.source = lambda: phases(objects.all())
    metrics.not_ready.source = lambda: troubles(objects.all())
    metrics.backlog.source = backlog.lengths
    writes = Writes(server, objects, backlog, metered)
    reconciler = _reconciler(settings, folder, metered)
    return Agent(
        objects=objects,
        node=Node(transport(settings.netlink), reconciler, settings.kernel_deadline, settings.attach_deadline),
        server=server,
        writes=writes,
        records=folder,
        torn=TornRecords(folder, objects, writes),
        names=KeptNames(resources(settings.state), objects, metered),
        backlog=backlog,
        attention=Attention(backlog),
        metrics=metrics,
        usage_interval=settings.usage_interval,
    )


def _reconciler(settings: Settings, folder: Folder[Record], seam: Seam) -> Reconciler:
    sysfs, papers = SysfsTree(settings.sysfs), PaperFolders(settings.cdi_folder, settings.device_info_folder)
    holders = Holders(ledger(settings.ledger), Kubelet(settings.kubelet_root, settings.kubelet_folder))
    _sweep(papers, folder)
    return Reconciler(
        Observer(sysfs, folder, papers, holders, boot_id(settings.boot_id)),
        Executor(sysfs, folder, papers, seam),
        Policy(
            range(settings.first_number, settings.last_number + 1),
            str(settings.devices),
            settings.resource_domains,
            settings.device_nodes,
            settings.net_devices,
        ),
    )


def _sweep(papers: PaperFolders, folder: Folder[Record]) -> None:
    """Clear away what an earlier agent left for others to read; what cannot be cleared harms no device."""
    try:
        for path in papers.sweep(folder):
            _LOG.info("removed %s, which no record names", path)
    except FolderError as error:
        _LOG.warning("%s", error)


def reporter(settings: Settings, server: ApiServer, agent: Agent, awaited: Awaited) -> NodeReporter:
    """Put together what keeps the SubFunctionNode true; FIRST_LOOK is awaited until it has looked."""

    def looked(error: SubFunctionError | None) -> None:
        if error is not None:
            agent.metrics.failed(error.reason)
        if isinstance(error, KernelBusy):
            awaited.failed(FIRST_LOOK, str(error))
        else:
            awaited.came(FIRST_LOOK)  # a kernel that can do nothing has been looked at too

    return NodeReporter(
        Surveyor(SysfsTree(settings.sysfs), agent.records),
        transport(settings.netlink),
        NodeClient(server),
        About(version("subfunction"), os.uname().release),
        agent.objects.named,
        pace=settings.survey_interval,
        deadline=settings.kernel_deadline,
        looked=looked,
    )
