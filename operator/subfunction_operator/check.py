"""`subfunction-operator check`: whether what was installed works, as the cluster shows it. `helm test` runs it.

It lives for seconds and takes every way to log in, so it uses the official client; no other program of ours does.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
import msgspec
from kubernetes.aio.client.api.custom_objects_api import CustomObjectsApi
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config

from subfunction.api.node import NODE_PLURAL
from subfunction.api.pool import POOL_PLURAL
from subfunction.api.subfunction import GROUP, PLURAL, VERSION
from subfunction.errors import ApiRefused, ApiUnavailable, SubFunctionError
from subfunction_operator.check_settings import CheckSettings
from subfunction_operator.kube.kubeconfig import Kubeconfig, key_files

_AGENT: Final = "subfunction-agent"
_AGAIN_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 30.0
_DAEMONSETS: Final = (_AGENT, "subfunction-device-plugin")
_DEPLOYMENT: Final = "subfunction-controller"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is well, and what was seen or is missing."""

    well: bool
    words: str

    def __str__(self) -> str:
        """Return it as a line for a person."""
        return f"{'ok' if self.well else 'FAIL'}  {self.words}"


async def check(settings: CheckSettings) -> list[Finding]:
    """Look until all is well or the time is up, and return what was seen last.

    Raises:
        ApiUnavailable: there is no way to the API server.
    """
    deadline = time.monotonic() + settings.wait
    make: Callable[[Configuration], ApiClient] = ApiClient
    with key_files():
        made = make(await _configuration(settings.kubeconfig))
    async with made as client:
        client.set_default_header("User-Agent", f"subfunction-check/{version('subfunction')}")
        server = CustomObjectsApi(client)
        while True:
            findings = [finding async for finding in _findings(server, settings)]
            if all(finding.well for finding in findings) or time.monotonic() >= deadline:
                return findings
            await asyncio.sleep(_AGAIN_SECONDS)


async def _configuration(kubeconfig: Path | None) -> Configuration:
    if kubeconfig is not None:
        return (await Kubeconfig.load(kubeconfig)).configuration
    configuration = Configuration()
    load: Callable[[Configuration], None] = load_incluster_config
    try:
        load(configuration)
    except (ConfigException, OSError) as error:
        hint = "Outside a pod, name a kubeconfig: `--kubeconfig FILE`."
        raise ApiUnavailable(f"no way to the API server from a pod: {error}", hint=hint) from error
    return configuration


async def _findings(server: CustomObjectsApi, settings: CheckSettings) -> AsyncIterator[Finding]:
    for plural in (PLURAL, NODE_PLURAL, POOL_PLURAL):
        yield await _served(server, plural)
    workloads: list[tuple[Literal["daemonsets", "deployments"], str]] = [("daemonsets", name) for name in _DAEMONSETS]
    if settings.controller:
        workloads.append(("deployments", _DEPLOYMENT))
    agents = 0
    for plural, name in workloads:
        try:
            found = await _answer(
                f"{plural} {name}",
                server.get_namespaced_custom_object(
                    "apps", "v1", settings.namespace, plural, name, _request_timeout=_ANSWER_SECONDS
                ),
            )
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
    """Return how many pods are ready, and how many should be."""
    if plural == "daemonsets":
        return int(status.get("numberReady", 0)), int(status.get("desiredNumberScheduled", 0))
    return int(status.get("readyReplicas", 0)), int(spec.get("replicas", 1))


async def _served(server: CustomObjectsApi, plural: str) -> Finding:
    try:
        await _answer(
            f"the list of {plural}",
            server.list_cluster_custom_object(GROUP, VERSION, plural, limit=1, _request_timeout=_ANSWER_SECONDS),
        )
    except ApiRefused as error:
        hint = "; install the CRDs" if error.status == 404 else ""
        return Finding(well=False, words=f"{plural}.{GROUP} is not served: {error}{hint}")
    except SubFunctionError as error:
        return Finding(well=False, words=str(error))
    return Finding(well=True, words=f"{plural}.{GROUP} is served")


async def _surveyed(server: CustomObjectsApi, agents: int) -> Finding:
    """Whether each agent has said what its node can do; that a node can do nothing is no fault of the installation."""
    try:
        answer = await _answer(
            f"the list of {NODE_PLURAL}",
            server.list_cluster_custom_object(GROUP, VERSION, NODE_PLURAL, _request_timeout=_ANSWER_SECONDS),
        )
    except SubFunctionError as error:
        return Finding(well=False, words=str(error))
    nodes = [item for item in answer["items"] if item.get("status")]
    parents = sum(int(item["status"].get("parentCount", 0)) for item in nodes)
    words = f"{len(nodes)} nodes were surveyed by {agents} agents, with {parents} parents of sub-functions"
    return Finding(well=len(nodes) >= max(agents, 1), words=words)


async def _answer(asked: str, request: Awaitable[Any]) -> Any:
    """Wait for an answer, and say in our words why there is none.

    Raises:
        ApiRefused: the server said no.
        ApiUnavailable: it cannot be reached.
    """
    try:
        return await request
    except ApiException as error:
        raise ApiRefused(f"{asked}: {error.status} {_message(error)}", status=int(error.status or 0)) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise ApiUnavailable(f"{asked}: {str(error) or repr(error)}") from error


def _message(error: ApiException) -> str:
    try:
        return str(msgspec.json.decode(error.body or "")["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(error.body or error.reason)
