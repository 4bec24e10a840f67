"""Which Kubernetes the cluster has: one without selectable fields would hand every node's objects to each agent."""

import logging
import re
from typing import Any, Final

from subfunction.errors import ApiRefused, ApiTooOld
from subfunction_operator.apiserver import ApiServer

_LOG = logging.getLogger("subfunction.apiserver")

OLDEST: Final = (1, 32)
"""From this release on, custom resources are listed and watched by the fields that their CRD names (KEP-4358)."""


async def refuse_old(server: ApiServer) -> None:
    """Ask the API server who it is (`kubectl version`).

    Raises:
        ApiTooOld: it is older than we can do with.
        ApiUnavailable: it cannot be reached.
    """
    try:
        told = await server.request("GET", "/version")
    except ApiRefused as error:
        _LOG.warning("the API server does not tell its version, which must be 1.32 or newer: %s", error)
        return
    found = version(told)
    if found is not None and found < OLDEST:
        hint = "Upgrade the cluster: by selectableFields an agent watches its own node's objects alone."
        raise ApiTooOld(f"Kubernetes {told['gitVersion']} is too old: 1.32 or newer is needed", hint=hint)


def version(told: Any) -> tuple[int, int] | None:
    """Read major and minor (some providers write `32+`); None where there are none."""
    match told:
        case {"major": str(major), "minor": str(minor), "gitVersion": str()}:
            numbers = [re.match(r"\d+", part) for part in (major, minor)]
            if numbers[0] and numbers[1]:
                return int(numbers[0][0]), int(numbers[1][0])
    return None
