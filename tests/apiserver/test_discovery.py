"""What the server says of itself, who may ask, and the seam for counts and faults."""

from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import yaml

from components import under_test
from components.under_test import AnyApiServer
from subfunction_simulator.apiserver.client import Answer, Client

GROUP = "/apis/subfunction.dev/v1alpha1"
ALL = f"{GROUP}/subfunctions"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
Make = Callable[..., Awaitable[Answer]]


OURS = ("", "subfunction.dev", "coordination.k8s.io", "apiextensions.k8s.io")
KINDS = {
    *("subfunctions", "subfunctions/status", "subfunctionnodes", "subfunctionnodes/status"),
    *("subfunctionpools", "subfunctionpools/status", "subfunctionpools/scale"),
    *("nodes", "nodes/status", "pods", "pods/status", "events", "configmaps", "namespaces", "leases"),
}
"""What the project asks for."""


async def test_old_and_new_clients_discover_the_same(api: Client) -> None:
    old = {
        (entry["name"], entry["kind"], entry["namespaced"], *sorted(entry["verbs"]))
        for root in ("/api/v1", GROUP, "/apis/coordination.k8s.io/v1", "/apis/apiextensions.k8s.io/v1")
        for entry in (await api("GET", root)).body["resources"]
        if entry["name"] in KINDS
    }
    new = set()
    for root in ("/api", "/apis"):
        answer = await api("GET", root, accept=AGGREGATED)
        assert answer.headers["Content-Type"] == AGGREGATED.partition(",")[0]
        groups = [group for group in answer.body["items"] if group["metadata"].get("name", "") in OURS]
        for version in (version for group in groups for version in group["versions"]):
            for entry in version["resources"]:
                namespaced = entry["scope"] == "Namespaced"
                new.add((entry["resource"], entry["responseKind"]["kind"], namespaced, *sorted(entry["verbs"])))
                for below in entry.get("subresources", ()):
                    name, kind = f"{entry['resource']}/{below['subresource']}", below["responseKind"]["kind"]
                    new.add((name, kind, namespaced, *sorted(below["verbs"])))
    assert old == {each for each in new if each[0] in KINDS}
    assert {each[0] for each in old} == KINDS
    assert ("subfunctions/status", "SubFunction", False, "get", "patch", "update") in new


async def test_groups_name_their_versions(api: Client) -> None:
    assert (await api("GET", "/api")).body["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await api("GET", "/apis")).body["groups"]}
    assert groups["subfunction.dev"]["preferredVersion"]["groupVersion"] == "subfunction.dev/v1alpha1"
    assert (await api("GET", "/apis/subfunction.dev")).body["versions"][0]["version"] == "v1alpha1"


async def test_the_crd_is_an_object_too(api: Client) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    crd = (await api("GET", f"{crds}/subfunctions.subfunction.dev")).body
    holds = {condition["type"] for condition in crd["status"]["conditions"] if condition["status"] == "True"}
    assert holds == {"NamesAccepted", "Established"}


@pytest.mark.parametrize("path", ["/apis/x", "/apis/subfunction.dev/v1", f"{ALL}/a/b", "/api/v1/x", "/x"])
async def test_what_is_not_served_is_not_found(api: Client, path: str) -> None:
    assert (await api("GET", path)).code == 404


async def test_openapi_describes_every_field_and_offers_field_validation(api: Client) -> None:
    index = (await api("GET", "/openapi/v3")).body["paths"]
    assert set(index) >= {"api/v1", "apis/subfunction.dev/v1alpha1"}
    document = (await api("GET", index["apis/subfunction.dev/v1alpha1"]["serverRelativeURL"])).body
    schema = document["components"]["schemas"]["dev.subfunction.v1alpha1.SubFunction"]
    assert schema["properties"]["spec"]["properties"]["mtu"]["description"].startswith("The link MTU")
    patch = document["paths"][f"{ALL}/{{name}}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


async def test_kubectl_learns_of_field_validation_in_protobuf_for_a_list_of_objects(api_server: AnyApiServer) -> None:
    accept = {"Accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    async with (
        aiohttp.ClientSession(headers=accept) as session,
        session.get(f"{api_server.url}/openapi/v2") as response,
    ):
        content = await response.read()
    assert response.content_type == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert content.startswith(b"\x0a\x032.0")  # the field swagger
    path = content[content.index(f"{ALL}/{{name}}".encode()) :]
    assert path.index(b"fieldValidation") < path.index(b"x-kubernetes-group-version-kind") + 20_000


async def test_a_token_is_asked_of_everybody_where_one_is_set() -> None:
    async with under_test.server(token=under_test.TOKEN) as server, aiohttp.ClientSession() as session:
        nobody = await Client(session, server.url)("GET", ALL)
        said = 'User "system:anonymous" cannot list resource "subfunctions"'
        assert (nobody.code, said in nobody.message) == (403, True)
        assert (await Client(session, server.url)("GET", "/apis")).code == 403
        assert (await Client(session, server.url)("GET", "/version")).code == 200
        assert (await Client(session, server.url, "wrong")("GET", ALL)).code == 401
        assert (await Client(session, server.url, under_test.TOKEN)("GET", ALL)).code == 200
        config = yaml.safe_load(server.kubeconfig())
        assert config["users"][0]["user"] == {"token": under_test.TOKEN}
        assert config["clusters"][0]["cluster"]["server"] == server.url


async def test_requests_are_counted_and_remembered(api: Client, api_server: AnyApiServer, make: Make) -> None:
    await make("blue")
    await api.merge(f"{ALL}/blue/status", {"status": {"phase": "Ready"}})
    await api("GET", ALL, fieldSelector="spec.nodeName=n1")
    counts = api_server.traffic.counts
    assert counts["create", "subfunctions", ""] == 1
    assert counts["patch", "subfunctions", "status"] == 1
    asked = api_server.traffic.requests[-1]
    assert (asked.verb, asked.query) == ("list", {"fieldSelector": "spec.nodeName=n1"})


async def test_the_next_requests_can_be_failed(api: Client, api_server: AnyApiServer, make: Make) -> None:
    await make("blue")
    api_server.traffic.answer_next(2, 429, verb="list", resource="subfunctions", retry_after=3)
    assert (await api("GET", f"{ALL}/blue")).code == 200
    refused = await api("GET", ALL)
    assert (refused.code, refused.body["reason"], refused.headers["Retry-After"]) == (429, "TooManyRequests", "3")
    assert [(await api("GET", ALL)).code for _ in range(2)] == [429, 200]
    api_server.traffic.answer_next(9, 500)
    assert (await api("GET", "/version")).code == 500
    api_server.traffic.heal()
    assert (await api("GET", "/version")).body["minor"] == "36"
