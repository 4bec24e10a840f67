"""The controller's main path, top to bottom: the Lease, then the watches, then the work; what ends it."""

import asyncio
import dataclasses
import logging
import secrets
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Final

from subfunction.api import GROUP, VERSION
from subfunction.api_node import NODE_PLURAL
from subfunction.errors import UnsupportedField
from subfunction.journal import effective
from subfunction.listener import served
from subfunction.metrics import ControllerMetrics
from subfunction.probes import Awaited, Heartbeat
from subfunction_operator.controller.clusternode import read_inventory, read_node, read_pool
from subfunction_operator.controller.controller import Controller, Manners
from subfunction_operator.controller.informer import Informer
from subfunction_operator.controller.lease import Lease, Terms
from subfunction_operator.controller.member import Members
from subfunction_operator.controller.settings import ControllerSettings
from subfunction_operator.controller.writes import NODES, POOLS, SUBFUNCTIONS, Writes
from subfunction_operator.credentials import SERVICE_ACCOUNT, Credentials
from subfunction_operator.endpoint import Endpoint, Reporter
from subfunction_operator.signals import until_one_ends, until_stopped
from subfunction_operator.traffic import counted

_LOG = logging.getLogger("subfunction.program")

_FIRST_LISTS: Final = "the first LIST of Nodes, SubFunctionNodes, SubFunctions and pools"
_INVENTORIES = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """What is told of the controller, and what it waits for."""

    metrics: ControllerMetrics = dataclasses.field(default_factory=ControllerMetrics)
    awaited: Awaited = dataclasses.field(default_factory=Awaited)


async def run(settings: ControllerSettings) -> None:
    """Work until SIGTERM or Ctrl-C, from when the Lease is ours.

    Raises:
        LeaseLost: another controller has taken over, or may have.
        SubFunctionError: it cannot even begin (no kubeconfig).
    """
    identity = settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    _LOG.info("subfunction-operator controller %s as %s: %s", version("subfunction"), identity, effective(settings))
    observed, heartbeat = Observed(), Heartbeat("main")
    credentials = Credentials.found(settings.kubeconfig, client="subfunction-controller")
    # The Lease has a connection of its own: it is renewed, however many writes wait for theirs.
    async with credentials.session(counted(observed.metrics)) as for_lease:
        lease = Lease(Endpoint(for_lease, credentials.server), _terms(settings, identity))
        with served(settings.listen, observed.metrics, observed.awaited, heartbeat):
            try:
                await until_stopped(heartbeat.beating(), _led(settings, credentials, lease, identity, observed))
            finally:
                await lease.give_back()
    _LOG.info("stopped")


async def _led(
    settings: ControllerSettings, credentials: Credentials, lease: Lease, identity: str, observed: Observed
) -> None:
    await lease.take()
    observed.metrics.leads()
    await until_one_ends(lease.keep(), work(settings, credentials, lambda: lease.ours, identity, observed))


async def work(
    settings: ControllerSettings,
    credentials: Credentials,
    allowed: Callable[[], bool],
    identity: str,
    observed: Observed,
) -> None:
    """Watch and work for ever, writing while `allowed`."""
    metrics, seen = observed.metrics, counted(observed.metrics)
    # Who waits for the Lease is ready without: it has nothing to decide.
    observed.awaited.begins(_FIRST_LISTS)
    async with credentials.session(seen) as watching, credentials.session(seen) as writing:
        members = Members()
        reporter = Reporter("subfunction-controller", identity)
        writes = Writes(Endpoint(writing, credentials.server), members, reporter, allowed)
        manners = Manners(
            policy=settings.placement,
            gone_grace=settings.gone_grace,
            workers=settings.workers,
            status_interval=settings.status_interval,
        )
        controller = Controller(writes, manners, metrics)
        endpoint, cluster, again = Endpoint(watching, credentials.server), controller.cluster, metrics.watch_restarted
        await until_one_ends(
            Informer(endpoint, NODES, read_node, cluster.nodes, relisted=again).run(),
            Informer(endpoint, _INVENTORIES, read_inventory, cluster.inventories, relisted=again).run(),
            Informer(endpoint, SUBFUNCTIONS, members.read, cluster.members, relisted=again).run(),
            Informer(endpoint, POOLS, read_pool, cluster.pools, relisted=again).run(),
            _worked(controller, settings.resync, observed.awaited),
        )


async def _worked(controller: Controller, resync: float, awaited: Awaited) -> None:
    await controller.synced.wait()
    awaited.came(_FIRST_LISTS)
    _LOG.info("all is known: %s", controller.cluster)
    await until_one_ends(controller.backlog.work(controller.work, 1), _resynced(controller, resync))


async def _resynced(controller: Controller, interval: float) -> None:
    """Look at everything at the start, and every `interval` seconds."""
    while True:
        controller.look_at_all()
        await asyncio.sleep(interval)


def _terms(settings: ControllerSettings, identity: str) -> Terms:
    """Give the Lease's terms.

    Raises:
        UnsupportedField: its times do not fit together.
    """
    if not settings.lease_retry < settings.renew_deadline < settings.lease_duration:
        raise UnsupportedField(
            f"a Lease of {settings.lease_duration:g} s cannot be renewed every {settings.lease_retry:g} s "
            f"within {settings.renew_deadline:g} s",
            hint="Set lease-retry below renew-deadline, and that below lease-duration.",
        )
    return Terms(
        namespace=settings.lease_namespace or _own_namespace(SERVICE_ACCOUNT),
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
