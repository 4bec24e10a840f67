"""The controller's main path, top to bottom: the Lease, then the watches, then the work; what ends it."""

import asyncio
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
from subfunction_operator.tally import counted

_LOG = logging.getLogger("subfunction.program")

_FIRST_LISTS: Final = "the first LIST of each kind"
_INVENTORIES: Final = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


async def run(settings: ControllerSettings) -> None:
    """Work until SIGTERM or Ctrl-C, from when the Lease is ours.

    Raises:
        LeaseLost: another controller has taken over, or may have.
        SubFunctionError: it cannot even begin (no kubeconfig).
    """
    identity = settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    _LOG.info("subfunction-operator controller %s: %s", version("subfunction"), effective(settings))
    terms, credentials = _terms(settings, identity), Credentials.found(settings.kubeconfig)
    metrics, heartbeat = ControllerMetrics(), Heartbeat("main")
    awaited: list[Awaited] = []
    # The Lease has a connection of its own: it is renewed, however many writes wait for theirs.
    async with credentials.session(counted(metrics)) as for_lease:
        lease = Lease(Endpoint(for_lease, credentials.server), terms)

        async def led() -> None:
            await lease.take()
            # One that waits for the Lease is ready to take over; the one that has it is ready once it knows all.
            awaited.append(Awaited(_FIRST_LISTS))
            working = work(settings, credentials, lambda: lease.ours, identity, metrics, awaited[0])
            await until_one_ends(lease.keep(), working)

        with served(settings.listen, metrics, lambda: awaited[0]() if awaited else (), heartbeat):
            try:
                await until_stopped(led(), heartbeat.beating())
            finally:
                await lease.give_back()
    _LOG.info("stopped")


async def work(  # noqa: PLR0913, PLR0917  # what it stands on, each once
    settings: ControllerSettings,
    credentials: Credentials,
    allowed: Callable[[], bool],
    identity: str,
    metrics: ControllerMetrics,
    awaited: Awaited,
) -> None:
    """Watch and work for ever, writing while `allowed`."""
    tally = counted(metrics)
    async with credentials.session(tally) as watching, credentials.session(tally) as writing:
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
        endpoint, cluster = Endpoint(watching, credentials.server), controller.cluster
        await until_one_ends(
            Informer(endpoint, NODES, read_node, cluster.nodes, metrics).run(),
            Informer(endpoint, _INVENTORIES, read_inventory, cluster.inventories, metrics).run(),
            Informer(endpoint, SUBFUNCTIONS, members.read, cluster.members, metrics).run(),
            Informer(endpoint, POOLS, read_pool, cluster.pools, metrics).run(),
            _worked(controller, settings.resync, awaited),
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
