"""`subfunction-operator check`: what it says of an installation, and by which log-in it asks."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import web

KINDS: Final = ("subfunctions", "subfunctionnodes", "subfunctionpools")
OURS: Final = "/apis/subfunction.dev/v1alpha1"
APPS: Final = "/apis/apps/v1/namespaces/sf"
READY: Final[dict[str, Any]] = {
    "status": {"numberReady": 2, "desiredNumberScheduled": 2, "readyReplicas": 1},
    "spec": {"replicas": 1},
}


class Installation:
    """A cluster in which all is well, but for what a test takes out of `answers`."""

    def __init__(self) -> None:
        nodes = [{"status": {"parentCount": 3}}, {"status": {"parentCount": 1}}, {"metadata": {"name": "new"}}]
        self.answers: dict[str, Any] = {f"{OURS}/{kind}": {"items": []} for kind in KINDS}
        self.answers[f"{OURS}/subfunctionnodes"] = {"items": nodes}
        self.answers |= {f"{APPS}/daemonsets/subfunction-{name}": READY for name in ("agent", "device-plugin")}
        self.answers[f"{APPS}/deployments/subfunction-controller"] = READY
        self.shown: set[tuple[str | None, str]] = set()

    async def answer(self, request: web.Request) -> web.Response:
        program = request.headers["User-Agent"].partition("/")[0]
        self.shown.add((request.headers.get("Authorization"), program))
        found = self.answers.get(request.path)
        if found is None:
            return web.json_response({"kind": "Status", "message": f"no {request.path}", "code": 404}, status=404)
        return web.json_response(found)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def checked(installation: Installation, folder: Path, user: dict[str, Any], *words: str) -> tuple[int, str]:
    async with installation.served() as url:
        config = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "main", "user": "me"}}],
            "clusters": [{"name": "main", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": user}],
        }
        (folder / "config").write_text(yaml.safe_dump(config))
        return await ran("--kubeconfig", str(folder / "config"), *words)


async def ran(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "subfunction_operator", "check", "--namespace", "sf", *words]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_where_all_is_well_each_line_is_ok(tmp_path: Path) -> None:
    installation = Installation()
    code, said = await checked(installation, tmp_path, {"token": "s3cret"})
    assert (code, said.splitlines()) == (
        0,
        [
            "ok  subfunctions.subfunction.dev is served",
            "ok  subfunctionnodes.subfunction.dev is served",
            "ok  subfunctionpools.subfunction.dev is served",
            "ok  subfunction-agent: 2 of 2 pods are ready",
            "ok  subfunction-device-plugin: 2 of 2 pods are ready",
            "ok  subfunction-controller: 1 of 1 pods are ready",
            "ok  2 nodes were surveyed by 2 agents, with 4 parents of sub-functions",
        ],
    )
    assert installation.shown == {("Bearer s3cret", "subfunction-check")}


async def test_what_is_missing_fails_in_the_servers_words(tmp_path: Path) -> None:
    installation = Installation()
    del installation.answers[f"{OURS}/subfunctionpools"]
    del installation.answers[f"{APPS}/deployments/subfunction-controller"]
    installation.answers[f"{APPS}/daemonsets/subfunction-agent"] = {
        "status": {"numberReady": 1, "desiredNumberScheduled": 3},
        "spec": {},
    }
    code, said = await checked(installation, tmp_path, {})
    assert code == 1
    failed = [line for line in said.splitlines() if line.startswith("FAIL  ")]
    assert len(failed) == 3
    assert "subfunctionpools.subfunction.dev is not served" in failed[0]
    assert failed[0].endswith("install the CRDs")
    assert "subfunction-agent: 1 of 3 pods are ready; kubectl -n sf describe pods" in failed[1]
    assert f"404 no {APPS}/deployments/subfunction-controller" in failed[2]


async def test_it_logs_in_by_a_program_as_kubectl_does(tmp_path: Path) -> None:
    api = "client.authentication.k8s.io/v1"
    credential = f'{{"apiVersion": "{api}", "kind": "ExecCredential", "status": {{"token": "from a program"}}}}'
    installation = Installation()
    user = {"exec": {"apiVersion": api, "command": "echo", "args": [credential]}}
    code, said = await checked(installation, tmp_path, user)
    assert code == 0, said
    assert installation.shown == {("Bearer from a program", "subfunction-check")}


async def test_a_server_that_is_away_is_a_failure_of_each_line(tmp_path: Path) -> None:
    config = "{current-context: a, contexts: [{name: a, context: {cluster: a}}], "
    config += "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]}"
    (tmp_path / "config").write_text(config)
    code, said = await ran("--kubeconfig", str(tmp_path / "config"))
    assert code == 1
    assert [line[:6] for line in said.splitlines()] == ["FAIL  "] * 7
    assert "Connect call failed" in said


async def test_outside_a_pod_it_asks_for_a_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    code, said = await ran()
    assert code == 1
    assert said.startswith("subfunction-operator: no way to the API server from a pod: Service host/port is not set.")
    assert "--kubeconfig FILE" in said
