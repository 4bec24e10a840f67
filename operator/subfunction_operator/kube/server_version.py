"""Checks the cluster's version: one without selectable fields would send every node's objects to each agent."""

import logging
import re
from typing import Any, Final

from subfunction.errors import ApiRefused, ApiTooOld
from subfunction_operator.kube.rest import RestClient

_LOG = logging.getLogger(__name__)

OLDEST: Final = (1, 32)
"""The first release in which custom resources are listed and watched by fields that their CRD names (KEP-4358)."""


async def require_supported(server: RestClient) -> None:
    """Check the version of the API server (`kubectl version`); pass if the server refuses to return it.

    Raises:
        ApiTooOld: it is older than `OLDEST`.
        ApiUnavailable: it cannot be reached.
    """
    try:
        answer = await server.request("GET", "/version")
    except ApiRefused as error:
        _LOG.warning("the API server does not tell its version, which must be 1.32 or newer: %s", error)
        return
    found = parse_version(answer)
    if found is not None and found < OLDEST:
        hint = "Upgrade the cluster: by selectableFields an agent watches its own node's objects alone."
        raise ApiTooOld(f"Kubernetes {answer['gitVersion']} is too old: 1.32 or newer is needed", hint=hint)


def parse_version(told: Any) -> tuple[int, int] | None:
    """Return major and minor of an answer (some providers write `32+`); None where it has none."""
    match told:
        case {"major": str(major), "minor": str(minor), "gitVersion": str()}:
            numbers = [re.match(r"\d+", part) for part in (major, minor)]
            if numbers[0] and numbers[1]:
                return int(numbers[0][0]), int(numbers[1][0])
    return None
