"""`subfunction-operator check`: whether what was installed works, as the cluster shows it. `helm test` runs it."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Literal

from subfunction.api import GROUP, PLURAL, VERSION
from subfunction.api_node import NODE_PLURAL
from subfunction.api_pool import POOL_PLURAL
from subfunction.errors import ApiRefused, SubFunctionError
from subfunction_operator.apiserver import ApiServer
from subfunction_operator.credentials import Credentials

_AGENT: Final = "subfunction-agent"
_AGAIN_SECONDS: Final = 2.0
_DAEMONSETS: Final = (_AGENT, "subfunction-device-plugin")
_DEPLOYMENT: Final = "subfunction-controller"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What is looked at, and for how long."""

    namespace: str
    """Where the programs were installed."""

    controller: bool = True
    """Whether there is a controller, too."""

    wait: float = 0.0
    """Seconds within which all must be well; a fresh installation takes a moment."""

    kubeconfig: Path | None = None
    """A kubeconfig; without it the pod's own token and the cluster's address are used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was seen or is missing."""

    well: bool
    words: str

    def __str__(self) -> str:
        """Give it as a line for a person."""
        return f"{'ok' if self.well else 'NO'}  {self.words}"


async def check(settings: Settings) -> list[Finding]:
    """Look until all is well or the time is up, and give what was seen last.

    Raises:
        ApiUnavailable: there is no way to the API server.
    """
    credentials = Credentials.found(settings.kubeconfig, client="subfunction-check")
    deadline = time.monotonic() + settings.wait
    async with credentials.session() as session:
        server = ApiServer(session, credentials.server, "")
        while True:
            findings = [finding async for finding in _looked(server, settings)]
            if all(finding.well for finding in findings) or time.monotonic() >= deadline:
                return findings
            await asyncio.sleep(_AGAIN_SECONDS)


async def _looked(server: ApiServer, settings: Settings) -> AsyncIterator[Finding]:
    for plural in (PLURAL, NODE_PLURAL, POOL_PLURAL):
        yield await _served(server, plural)
    workloads: list[tuple[Literal["daemonsets", "deployments"], str]] = [("daemonsets", name) for name in _DAEMONSETS]
    if settings.controller:
        workloads.append(("deployments", _DEPLOYMENT))
    agents = 0
    for plural, name in workloads:
        try:
            found = await server.request("GET", f"/apis/apps/v1/namespaces/{settings.namespace}/{plural}/{name}")
        except SubFunctionError as error:
            yield Finding(well=False, words=str(error))
            continue
        ready, wanted = _counts(plural, found.get("status") or {}, found["spec"])
        if name == _AGENT:
            agents = ready
        yield _ready(name, ready, wanted, settings.namespace)
    yield await _surveyed(server, agents)


def _ready(name: str, ready: int, wanted: int, namespace: str) -> Finding:
    words = f"{name}: {ready} of {wanted} pods are ready"
    if not wanted:
        words += "; no node is chosen for it: see its nodeSelector and tolerations"
    elif ready < wanted:
        words += f"; kubectl -n {namespace} describe pods -l app.kubernetes.io/name=subfunction says why"
    return Finding(well=ready >= wanted > 0, words=words)


def _counts(plural: str, status: Any, spec: Any) -> tuple[int, int]:
    """Give how many pods are ready, and how many should be."""
    if plural == "daemonsets":
        return int(status.get("numberReady", 0)), int(status.get("desiredNumberScheduled", 0))
    return int(status.get("readyReplicas", 0)), int(spec.get("replicas", 1))


async def _served(server: ApiServer, plural: str) -> Finding:
    try:
        await server.request("GET", f"/apis/{GROUP}/{VERSION}/{plural}", parameters={"limit": "1"})
    except ApiRefused as error:
        hint = "; install the CRDs" if error.status == 404 else ""
        return Finding(well=False, words=f"{plural}.{GROUP} is not served: {error}{hint}")
    except SubFunctionError as error:
        return Finding(well=False, words=str(error))
    return Finding(well=True, words=f"{plural}.{GROUP} is served")


async def _surveyed(server: ApiServer, agents: int) -> Finding:
    """Whether each agent has said what its node can do; that a node can do nothing is no fault of the installation."""
    try:
        answer = await server.request("GET", f"/apis/{GROUP}/{VERSION}/{NODE_PLURAL}")
    except SubFunctionError as error:
        return Finding(well=False, words=str(error))
    nodes = [item for item in answer["items"] if item.get("status")]
    parents = sum(int(item["status"].get("parentCount", 0)) for item in nodes)
    words = f"{len(nodes)} nodes were surveyed by {agents} agents, with {parents} parents of sub-functions"
    return Finding(well=len(nodes) >= max(agents, 1), words=words)
