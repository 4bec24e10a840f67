"""The embedded API server as a program of its own."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest
import yaml

from subfunction_simulator.apiserver import AddressInUseError, ApiServer, ServerSettings, serve
from subfunction_simulator.apiserver.client import Client
from subfunction_simulator.apiserver.kinds.catalogue import UnusableCrdError

SUBFUNCTIONS = "/apis/subfunction.dev/v1alpha1/subfunctions"


async def test_it_serves_until_a_signal_and_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kubeconfig = tmp_path / "new" / "kubeconfig"
    running = asyncio.create_task(serve(ServerSettings(kubeconfig=kubeconfig)))
    async with asyncio.timeout(10):
        while not kubeconfig.exists():  # noqa: ASYNC110  it is a file's appearance that a script waits for, too
            await asyncio.sleep(0.01)
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        url = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as response:
            assert await response.text() == "ok"
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert list(kubeconfig.parent.iterdir()) == []
    assert capsys.readouterr().out == f"API server at {url}\nexport KUBECONFIG={kubeconfig}\n"


async def test_a_taken_port_is_said_to_be_taken(api_server: ApiServer) -> None:
    with pytest.raises(AddressInUseError, match=f"port {api_server.port} of 127.0.0.1 is in use"):
        await ApiServer(port=api_server.port).start()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod", "is a Pod"),
        ("{kind: CustomResourceDefinition}", "spec"),
        ("a: [", "a.yaml"),
        ("", "no CustomResourceDefinition"),
    ],
)
def test_a_folder_without_a_usable_crd_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(UnusableCrdError, match=said):
        ApiServer(crds=tmp_path)


async def test_its_crds_stay(api: Client) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api("DELETE", f"{crds}/subfunctions.subfunction.dev")).code == 405


async def test_a_namespaces_content_goes_with_it(api: Client) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "a"}]}}
    assert (await api("POST", "/api/v1/namespaces", {"metadata": {"name": "blue"}})).code == 201
    assert (await api("POST", "/api/v1/namespaces/blue/pods", pod)).code == 201
    await api("DELETE", "/api/v1/namespaces/blue")
    assert (await api("GET", "/api/v1/pods")).body["items"] == []


async def test_a_bookmark_counts_what_became_of_other_kinds(api: Client) -> None:
    listed = await api("GET", SUBFUNCTIONS)
    query = {"resourceVersion": listed.metadata["resourceVersion"], "allowWatchBookmarks": "true"}
    async with api.watch(SUBFUNCTIONS, **query) as events:
        made = await api("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
        kind, bookmark = await events.next()
        while bookmark["metadata"]["resourceVersion"] != made.metadata["resourceVersion"]:
            kind, bookmark = await events.next()
    assert (kind, bookmark["kind"], "spec" in bookmark) == ("BOOKMARK", "SubFunction", False)
