"""Builds the agent and the inventory reporter from the settings."""

import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from subfunction.errors import FolderError, SubFunctionError
from subfunction.kernel.netlink.transport import open_transport
from subfunction.kernel.release import filters_lists
from subfunction.kernel.sysfs import SysfsTree
from subfunction.process.metrics import AgentMetrics
from subfunction.process.probes import ReadinessGate
from subfunction.state.ledger import open_ledger
from subfunction.state.records import Record, open_records, read_boot_id
from subfunction.state.resource_names import open_resource_names
from subfunction.state.store import FileStore
from subfunction_operator.agent.agent import Agent
from subfunction_operator.agent.api.cache import SubFunctionCache
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.agent.api.writer import StatusWriter
from subfunction_operator.agent.execute.executor import Executor
from subfunction_operator.agent.execute.metrics import MetricsHooks
from subfunction_operator.agent.inventory.client import InventoryClient
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_operator.agent.inventory.discovery_thread import DiscoveryThread
from subfunction_operator.agent.inventory.reporter import InventoryReporter
from subfunction_operator.agent.inventory.status import NodeFacts
from subfunction_operator.agent.model.hooks import StepHooks
from subfunction_operator.agent.model.number_ranges import NumberRanges
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_operator.agent.observe.observer import Observer
from subfunction_operator.agent.observe.usage import Kubelet, UsageReader
from subfunction_operator.agent.offer.artifact_store import ArtifactStore
from subfunction_operator.agent.reconcile.dispatcher import KernelDispatcher
from subfunction_operator.agent.reconcile.reconciler import Reconciler
from subfunction_operator.agent.settings import Settings
from subfunction_operator.agent.state.quarantine import RecordQuarantine
from subfunction_operator.agent.state.resource_names import ResourceNameStore
from subfunction_operator.agent.triggers.enqueue import EventEnqueuer
from subfunction_operator.kube.events import EventRecorder, EventSource
from subfunction_operator.kube.workqueue import WorkQueue

_LOG = logging.getLogger(__name__)

FIRST_LOOK: Final = "the first look at the kernel"


def build_agent(settings: Settings, client: SubFunctionClient, hooks: StepHooks, metrics: AgentMetrics) -> Agent:
    """Build the agent; `hooks` are called around each step, and `metrics` count what it does."""
    cache, queue, folder = SubFunctionCache(), WorkQueue(), open_records(settings.records)
    enqueuer = EventEnqueuer(queue)
    metrics_hooks = MetricsHooks(hooks, metrics, cache.flavour)
    metrics.sub_functions.source = cache.count_phases
    metrics.not_ready.source = cache.count_not_ready
    metrics.backlog.source = queue.lengths
    writer = StatusWriter(
        client, EventRecorder(client, EventSource("subfunction-agent", client.node)), cache, queue, metrics_hooks
    )
    reconciler = _build_reconciler(settings, folder, metrics_hooks)
    return Agent(
        cache=cache,
        dispatcher=KernelDispatcher(
            open_transport(settings.netlink),
            reconciler,
            settings.kernel_deadline,
            settings.attach_deadline,
            filters_lists=settings.netlink != "kernel" or filters_lists(os.uname().release),
            on_return=enqueuer.enqueue,
        ),
        client=client,
        writer=writer,
        records=folder,
        quarantine=RecordQuarantine(folder, cache, writer),
        resource_names=ResourceNameStore(open_resource_names(settings.state), cache, metrics_hooks),
        queue=queue,
        enqueuer=enqueuer,
        metrics=metrics,
        usage_interval=settings.usage_interval,
    )


def _build_reconciler(settings: Settings, folder: FileStore[Record], hooks: StepHooks) -> Reconciler:
    sysfs, artifacts = SysfsTree(settings.sysfs), ArtifactStore(settings.cdi_folder, settings.device_info_folder)
    usage_reader = UsageReader(open_ledger(settings.ledger), Kubelet(settings.kubelet_root, settings.kubelet_folder))
    _remove_orphans(artifacts, folder)
    return Reconciler(
        Observer(sysfs, folder, artifacts, usage_reader, read_boot_id(settings.boot_id)),
        Executor(sysfs, folder, artifacts, hooks),
        NodePolicy(
            _parse_ranges(settings),
            str(settings.devices),
            settings.resource_domains,
            settings.device_nodes,
            settings.net_devices,
            settings.restore_switchdev,
        ),
    )


def _parse_ranges(settings: Settings) -> NumberRanges:
    usual = (settings.first_number, settings.last_number)
    return NumberRanges.parse(usual, settings.node_name, settings.number_ranges)


def _remove_orphans(artifacts: ArtifactStore, folder: FileStore[Record]) -> None:
    """Remove CDI and device-info files of an earlier agent that no record names (best effort: they harm no device)."""
    try:
        for path in artifacts.remove_orphans(folder):
            _LOG.info("removed %s, which no record names", path)
    except FolderError as error:
        _LOG.warning("%s", error)


def build_reporter(
    settings: Settings, client: SubFunctionClient, agent: Agent, readiness: ReadinessGate
) -> InventoryReporter:
    """Build the inventory reporter; FIRST_LOOK is complete once the kernel has answered about one parent."""

    def looked(errors: Sequence[SubFunctionError], *, answered: bool) -> None:
        for error in errors:
            agent.metrics.record_error(error.reason)
        if answered:
            readiness.complete(FIRST_LOOK)
        else:
            readiness.fail(FIRST_LOOK, str(errors[0]))

    discovery = DiscoveryThread(
        Discovery(SysfsTree(settings.sysfs), agent.records, agent.dispatcher.reconciler.policy.numbers),
        open_transport(settings.netlink),
        agent.cache.status_numbers,
        deadline=settings.kernel_deadline,
    )
    return InventoryReporter(
        discovery,
        InventoryClient(client),
        NodeFacts(version("subfunction"), os.uname().release),
        pace=settings.survey_interval,
        on_discovered=looked,
    )
