"""Runs the controller: waits for the Lease, then starts the watches and the worker."""

import asyncio
import dataclasses
import logging
import secrets
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from subfunction.api.node import NODE_PLURAL
from subfunction.api.subfunction import GROUP, VERSION
from subfunction.errors import UnsupportedField
from subfunction.process.http_server import serve_metrics
from subfunction.process.log import format_settings
from subfunction.process.metrics import ControllerMetrics
from subfunction.process.probes import Heartbeat, ReadinessGate
from subfunction.process.signals import run_until_first_exit, run_until_stopped
from subfunction_operator.controller.api.writer import NODES, POOLS, SUBFUNCTIONS, ApiWriter
from subfunction_operator.controller.controller import Controller, ControllerOptions
from subfunction_operator.controller.model.node import read_inventory, read_node, read_pool
from subfunction_operator.controller.model.subfunction import SubFunctionDecoder
from subfunction_operator.controller.settings import ControllerSettings
from subfunction_operator.kube.credentials import Credentials
from subfunction_operator.kube.events import EventRecorder, EventSource
from subfunction_operator.kube.informer import Informer
from subfunction_operator.kube.leaderelection import LeaderElectionConfig, LeaderElector
from subfunction_operator.kube.request_metrics import count_requests
from subfunction_operator.kube.rest import RestClient

_LOG = logging.getLogger(__name__)

_FIRST_LISTS: Final = "the first LIST of Nodes, SubFunctionNodes, SubFunctions and pools"
_INVENTORIES = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


@dataclasses.dataclass(frozen=True, slots=True)
class Telemetry:
    """The controller's metrics, and what its readiness waits for."""

    metrics: ControllerMetrics = dataclasses.field(default_factory=ControllerMetrics)
    readiness: ReadinessGate = dataclasses.field(default_factory=ReadinessGate)


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or Ctrl-C; work once the Lease is ours.

    Raises:
        LeaseLost: another controller has taken over, or may have.
        SubFunctionError: the controller cannot start (no kubeconfig).
    """
    identity = settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    _LOG.info(
        "subfunction-operator controller %s as %s: %s", version("subfunction"), identity, format_settings(settings)
    )
    telemetry, heartbeat = Telemetry(), Heartbeat("main")
    credentials = await Credentials.load(settings.kubeconfig, settings.service_account, client="subfunction-controller")
    # The Lease has a session of its own, so that no renewal waits behind other requests.
    async with credentials.session(count_requests(telemetry.metrics)) as for_lease:
        lease = LeaderElector(RestClient(for_lease, credentials.server), _election_config(settings, identity))
        with serve_metrics(settings.listen, telemetry.metrics, telemetry.readiness, heartbeat):
            try:
                await run_until_stopped(heartbeat.beat(), _lead(settings, credentials, lease, identity, telemetry))
            finally:
                await lease.release()
    _LOG.info("stopped")


async def _lead(
    settings: ControllerSettings, credentials: Credentials, lease: LeaderElector, identity: str, telemetry: Telemetry
) -> None:
    await lease.acquire()
    telemetry.metrics.set_leader()
    await run_until_first_exit(lease.renew(), work(settings, credentials, lambda: lease.is_leader, identity, telemetry))


async def work(
    settings: ControllerSettings,
    credentials: Credentials,
    allowed: Callable[[], bool],
    identity: str,
    telemetry: Telemetry,
) -> None:
    """Watch and reconcile for ever; write only while `allowed` returns True."""
    metrics, seen = telemetry.metrics, count_requests(telemetry.metrics)
    # Expected only from here on: a controller that waits for the Lease is ready, as it has nothing to decide.
    telemetry.readiness.expect(_FIRST_LISTS)
    async with credentials.session(seen) as watching, credentials.session(seen) as writing:
        members = SubFunctionDecoder()
        client = RestClient(writing, credentials.server)
        events = EventRecorder(client, EventSource("subfunction-controller", identity))
        writer = ApiWriter(client, members, events, allowed)
        options = ControllerOptions(
            policy=settings.placement,
            gone_grace=settings.gone_grace,
            workers=settings.workers,
            status_interval=settings.status_interval,
        )
        controller = Controller(writer, options, metrics)
        watch_client, cluster, on_relist = (
            RestClient(watching, credentials.server),
            controller.cluster,
            metrics.record_watch_restart,
        )
        await run_until_first_exit(
            Informer(watch_client, NODES, read_node, cluster.nodes, relisted=on_relist).run(),
            Informer(watch_client, _INVENTORIES, read_inventory, cluster.inventories, relisted=on_relist).run(),
            Informer(watch_client, SUBFUNCTIONS, members.read, cluster.members, relisted=on_relist).run(),
            Informer(watch_client, POOLS, read_pool, cluster.pools, relisted=on_relist).run(),
            _run_workers(controller, settings.resync, telemetry.readiness),
        )


async def _run_workers(controller: Controller, resync: float, readiness: ReadinessGate) -> None:
    await controller.synced.wait()
    readiness.complete(_FIRST_LISTS)
    _LOG.info("%s is complete: %s", _FIRST_LISTS, controller.cluster)
    await run_until_first_exit(controller.queue.run(controller.reconcile, 1), _resync_periodically(controller, resync))


async def _resync_periodically(controller: Controller, interval: float) -> None:
    """Enqueue everything at the start, and every `interval` seconds."""
    while True:
        controller.enqueue_all()
        await asyncio.sleep(interval)


def _election_config(settings: ControllerSettings, identity: str) -> LeaderElectionConfig:
    """Return the configuration of the leader election.

    Raises:
        UnsupportedField: its times contradict each other.
    """
    if not settings.lease_retry < settings.renew_deadline < settings.lease_duration:
        raise UnsupportedField(
            f"a Lease of {settings.lease_duration:g} s cannot be renewed every {settings.lease_retry:g} s "
            f"within {settings.renew_deadline:g} s",
            hint="Set lease-retry below renew-deadline, and that below lease-duration.",
        )
    return LeaderElectionConfig(
        namespace=settings.lease_namespace or _own_namespace(settings.service_account),
        name=settings.lease_name,
        identity=identity,
        duration=settings.lease_duration,
        renew_deadline=settings.renew_deadline,
        retry=settings.lease_retry,
    )


def _own_namespace(mounted: Path) -> str:
    try:
        return (mounted / "namespace").read_text(encoding="ascii").strip() or "default"
    except OSError:
        return "default"
