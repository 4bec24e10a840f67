"""The controller's main path, top to bottom: the Lease, then the watches, then the work; what ends it."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from subfunction.api import GROUP, VERSION
from subfunction.api_node import NODE_PLURAL
from subfunction.errors import UnsupportedField
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

_LOG = logging.getLogger("subfunction.program")

_INVENTORIES = f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}"


async def run(settings: ControllerSettings) -> None:
    """Work until SIGTERM or Ctrl-C, from when the Lease is ours.

    Raises:
        LeaseLost: another controller has taken over, or may have.
        SubFunctionError: it cannot even begin (no kubeconfig).
    """
    identity = settings.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    _LOG.info("subfunction controller %s as %s: %s", version("subfunction"), identity, settings)
    credentials = Credentials.found(settings.kubeconfig)
    # The Lease has a connection of its own: it is renewed, however many writes wait for theirs.
    async with credentials.session() as for_lease:
        lease = Lease(Endpoint(for_lease, credentials.server), _terms(settings, identity))
        try:
            await until_stopped(_led(settings, credentials, lease, identity))
        finally:
            await lease.give_back()
    _LOG.info("stopped")


async def _led(settings: ControllerSettings, credentials: Credentials, lease: Lease, identity: str) -> None:
    await lease.take()
    await until_one_ends(lease.keep(), work(settings, credentials, lambda: lease.ours, identity))


async def work(
    settings: ControllerSettings, credentials: Credentials, allowed: Callable[[], bool], identity: str
) -> None:
    """Watch and work for ever, writing while `allowed`."""
    async with credentials.session() as watching, credentials.session() as writing:
        members = Members()
        reporter = Reporter("subfunction-controller", identity)
        writes = Writes(Endpoint(writing, credentials.server), members, reporter, allowed)
        manners = Manners(
            policy=settings.placement,
            gone_grace=settings.gone_grace,
            workers=settings.workers,
            status_interval=settings.status_interval,
        )
        controller = Controller(writes, manners)
        endpoint, cluster = Endpoint(watching, credentials.server), controller.cluster
        await until_one_ends(
            Informer(endpoint, NODES, read_node, cluster.nodes).run(),
            Informer(endpoint, _INVENTORIES, read_inventory, cluster.inventories).run(),
            Informer(endpoint, SUBFUNCTIONS, members.read, cluster.members).run(),
            Informer(endpoint, POOLS, read_pool, cluster.pools).run(),
            _worked(controller, settings.resync),
        )


async def _worked(controller: Controller, resync: float) -> None:
    await controller.synced.wait()
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
