"""The agent's main path, top to bottom: what it is built from, what triggers it, what ends it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Final

from subfunction.errors import SubFunctionError
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import open_transport
from subfunction.process.http_server import serve_metrics
from subfunction.process.log import format_settings
from subfunction.process.metrics import AgentMetrics
from subfunction.process.probes import Heartbeat, ReadinessGate
from subfunction.process.signals import run_until_stopped
from subfunction.state.ledger import open_ledger
from subfunction_operator.agent import wiring
from subfunction_operator.agent.agent import Agent
from subfunction_operator.agent.api.client import SubFunctionClient
from subfunction_operator.agent.api.relist import Relister, spread_of
from subfunction_operator.agent.api.watch import Watch, WatchHandlers
from subfunction_operator.agent.inventory.reporter import InventoryReporter
from subfunction_operator.agent.model.hooks import LoggingHooks, StepHooks
from subfunction_operator.agent.observe.usage import Kubelet
from subfunction_operator.agent.settings import Settings
from subfunction_operator.agent.triggers.sources import (
    EventHandlers,
    watch_devices,
    watch_devlink,
    watch_folder,
    watch_links,
)
from subfunction_operator.agent.wiring import FIRST_LOOK
from subfunction_operator.kube.credentials import Credentials
from subfunction_operator.kube.request_metrics import count_requests
from subfunction_operator.kube.server_version import require_supported

_LOG = logging.getLogger(__name__)

_FIRST_LIST: Final = "the first LIST of this node's SubFunctions"


async def run(settings: Settings, hooks: StepHooks | None = None) -> None:
    """Run until SIGTERM or Ctrl-C; `hooks` are called around each step.

    Raises:
        SubFunctionError: it cannot start (no kubeconfig, no netlink).
    """
    _LOG.info("subfunction-operator agent %s: %s", version("subfunction"), format_settings(settings))
    metrics, heartbeat, readiness = AgentMetrics(), Heartbeat("main"), ReadinessGate(_FIRST_LIST, FIRST_LOOK)
    credentials = await Credentials.load(settings.kubeconfig, settings.service_account, client="subfunction-agent")
    async with credentials.session(count_requests(metrics)) as session:
        client = SubFunctionClient(session, credentials.server, settings.node_name)
        agent = wiring.build_agent(settings, client, hooks or LoggingHooks(), metrics)
        reporter = wiring.build_reporter(settings, client, agent, readiness)
        handlers = EventHandlers(agent.enqueuer, agent.enqueue_all, reporter.wake)
        kernel = open_transport(settings.netlink)
        announcements = Netlink(kernel)

        def list_failed(error: SubFunctionError) -> None:
            metrics.record_error(error.reason)
            readiness.fail(_FIRST_LIST, str(error))

        relister = Relister(_build_relist(agent, reporter, readiness), settings.relist, list_failed)
        seen = WatchHandlers(
            lambda found, deleted: agent.on_event(found, deleted=deleted), relister.reopen, spread_of(settings.relist)
        )
        try:
            with (
                Watch(credentials, settings.node_name, seen, metrics=metrics) as watch,
                serve_metrics(settings.listen, metrics, readiness, heartbeat, watch.heartbeat),
            ):
                await run_until_stopped(
                    agent.queue.run(agent.reconcile, settings.workers),
                    heartbeat.beat(),
                    relister.run(),
                    _resync_periodically(agent, reporter, settings.resync),
                    watch_devlink(handlers, announcements),
                    watch_devices(handlers, kernel),
                    watch_links(handlers, kernel),
                    watch_folder(handlers, open_ledger(settings.ledger)),
                    watch_folder(handlers, agent.records),
                    reporter.run(),
                    _refresh_kubelet_periodically(
                        Kubelet(settings.kubelet_root, settings.kubelet_folder), settings.usage_interval
                    ),
                )
        finally:
            agent.dispatcher.stop()
            reporter.stop()
            announcements.close()
    _LOG.info("stopped")


async def _resync_periodically(agent: Agent, reporter: InventoryReporter, interval: float) -> None:
    """Enqueue every key each `interval` seconds: a file of ours that was removed by hand is not announced."""
    while True:
        await asyncio.sleep(interval)
        agent.enqueuer.enqueue_all()
        reporter.resync()


def _build_relist(agent: Agent, reporter: InventoryReporter, readiness: ReadinessGate) -> Callable[[], Awaitable[None]]:
    """Return what makes one LIST; before the first one the server's version is checked."""
    supported = False

    async def relist() -> None:
        nonlocal supported
        if not supported:
            await require_supported(agent.client)
            supported = True
        await agent.relist()
        agent.metrics.record_list()
        readiness.complete(_FIRST_LIST)
        reporter.on_listed()

    return relist


async def _refresh_kubelet_periodically(kubelet: Kubelet, interval: float) -> None:
    """Ask the kubelet at a fixed pace, so that it forgets pods that have ended: nothing announces their end."""
    while True:
        try:
            await asyncio.to_thread(kubelet.refresh)
        except SubFunctionError as error:
            _LOG.debug("the kubelet was not asked: %s", error)
        await asyncio.sleep(interval)
