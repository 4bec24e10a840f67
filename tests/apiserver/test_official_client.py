"""The official Python client against the embedded API server and a real one: our kinds, Events and Leases."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from kubernetes.aio import watch
from kubernetes.aio.client.api.coordination_v1_api import CoordinationV1Api
from kubernetes.aio.client.api.core_v1_api import CoreV1Api
from kubernetes.aio.client.api.custom_objects_api import CustomObjectsApi
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.client.models.core_v1_event import CoreV1Event
from kubernetes.aio.client.models.v1_delete_options import V1DeleteOptions
from kubernetes.aio.client.models.v1_lease import V1Lease
from kubernetes.aio.client.models.v1_lease_spec import V1LeaseSpec
from kubernetes.aio.client.models.v1_object_meta import V1ObjectMeta
from kubernetes.aio.client.models.v1_object_reference import V1ObjectReference
from kubernetes.aio.client.models.v1_preconditions import V1Preconditions

from components.under_test import AnyApiServer
from subfunction_operator.kube.kubeconfig import Kubeconfig

SUBFUNCTIONS: Final = ("subfunction.dev", "v1alpha1", "subfunctions")
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
FINALIZER: Final = "subfunction.dev/test"
KINDS: Final[dict[str, dict[str, Any]]] = {
    "SubFunction": {"spec": {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}}},
    "SubFunctionNode": {},
    "SubFunctionPool": {
        "spec": {
            "parents": [{"selector": {"driver": "mlx5_core"}}],
            "replicas": 1,
            "template": {"spec": {"flavour": "mlx5"}},
        }
    },
}


def body(name: str, kind: str = "SubFunction", **spec: Any) -> dict[str, Any]:
    made = {"apiVersion": "subfunction.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, **KINDS[kind]}
    return made | {"spec": made["spec"] | spec} if spec else made


@pytest_asyncio.fixture
async def client(api_server: AnyApiServer, tmp_path: Path) -> AsyncIterator[ApiClient]:
    """A client that has logged in by the server's own kubeconfig."""
    (tmp_path / "config").write_text(api_server.kubeconfig())
    found = await Kubeconfig.load(tmp_path / "config")
    make: Callable[..., ApiClient] = ApiClient
    async with make(found.configuration) as made:
        yield made


@pytest.fixture
def objects(client: ApiClient) -> CustomObjectsApi:
    return CustomObjectsApi(client)


@pytest.fixture
def core(client: ApiClient) -> CoreV1Api:
    return CoreV1Api(client)


async def created(objects: CustomObjectsApi, *given: Any, **spec: Any) -> Any:
    return await objects.create_cluster_custom_object(*SUBFUNCTIONS, body(*given, **spec))


async def followed(function: Any, *arguments: str, **options: Any) -> list[tuple[str, Any]]:
    """Watch until the server ends it, after a second, and give what it told."""
    make: Callable[[], Any] = watch.Watch
    async with make() as watching:
        events = watching.stream(function, *arguments, timeout_seconds=1, **options)
        return [(event["type"], event["raw_object"]) async for event in events]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_is_made_read_listed_changed_and_removed(objects: CustomObjectsApi, kind: str) -> None:
    of_kind = (*SUBFUNCTIONS[:2], f"{kind.lower()}s")
    made: Any = await objects.create_cluster_custom_object(*of_kind, body("blue", kind))
    assert await objects.get_cluster_custom_object(*of_kind, "blue") == made
    listed: Any = await objects.list_cluster_custom_object(*of_kind)
    assert (listed["kind"], listed["items"]) == (f"{kind}List", [made])
    labelled: Any = await objects.patch_cluster_custom_object(
        *of_kind, "blue", {"metadata": {"labels": {"team": "red"}}}, _content_type=MERGE
    )
    assert labelled["metadata"]["labels"] == {"team": "red"}
    replaced: Any = await objects.replace_cluster_custom_object(
        *of_kind, "blue", labelled | {"metadata": labelled["metadata"] | {"labels": {"team": "blue"}}}
    )
    assert replaced["metadata"]["labels"] == {"team": "blue"}
    gone: Any = await objects.delete_cluster_custom_object(*of_kind, "blue")
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    with pytest.raises(ApiException) as missing:
        await objects.get_cluster_custom_object(*of_kind, "blue")
    assert missing.value.status == 404


async def test_a_list_comes_in_pages_and_by_a_field(objects: CustomObjectsApi) -> None:
    for number in range(5):
        await created(objects, f"sf-{number}", nodeName=f"n{number % 2}")
    names: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    for _ in range(3):
        page: Any = await objects.list_cluster_custom_object(*SUBFUNCTIONS, **query)
        names += [item["metadata"]["name"] for item in page["items"]]
        query["_continue"] = page["metadata"].get("continue", "")
    assert names == [f"sf-{number}" for number in range(5)]
    assert query["_continue"] == ""
    chosen: Any = await objects.list_cluster_custom_object(*SUBFUNCTIONS, field_selector="spec.nodeName=n1")
    assert [item["metadata"]["name"] for item in chosen["items"]] == ["sf-1", "sf-3"]


async def test_a_watch_from_a_revision_tells_what_came_after_it(objects: CustomObjectsApi) -> None:
    await created(objects, "old")
    listed: Any = await objects.list_cluster_custom_object(*SUBFUNCTIONS)
    await created(objects, "blue")
    await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", {"spec": {"mtu": 9000}}, _content_type=MERGE)
    await objects.delete_cluster_custom_object(*SUBFUNCTIONS, "old")
    told = await followed(
        objects.list_cluster_custom_object, *SUBFUNCTIONS, resource_version=listed["metadata"]["resourceVersion"]
    )
    assert [(kind, seen["metadata"]["name"]) for kind, seen in told] == [
        ("ADDED", "blue"),
        ("MODIFIED", "blue"),
        ("DELETED", "old"),
    ]


async def test_a_watch_has_bookmarks_and_the_next_goes_on_from_one(client: ApiClient) -> None:
    leases = CoordinationV1Api(client)
    await leases.create_namespaced_lease("default", V1Lease(metadata=V1ObjectMeta(name="one")))
    initial = {"send_initial_events": True, "resource_version_match": "NotOlderThan", "allow_watch_bookmarks": True}
    told = await followed(leases.list_namespaced_lease, "default", **initial)
    assert [kind for kind, _ in told][:2] == ["ADDED", "BOOKMARK"]
    revision = told[1][1]["metadata"]["resourceVersion"]
    await leases.create_namespaced_lease("default", V1Lease(metadata=V1ObjectMeta(name="two")))
    told = await followed(leases.list_namespaced_lease, "default", resource_version=revision)
    assert [(kind, seen["metadata"]["name"]) for kind, seen in told] == [("ADDED", "two")]


async def test_the_status_is_written_apart_from_the_spec(objects: CustomObjectsApi) -> None:
    await created(objects, "blue")
    change = {"spec": {"mtu": 9000}, "status": {"phase": "Ready"}}
    written: Any = await objects.patch_cluster_custom_object_status(*SUBFUNCTIONS, "blue", change, _content_type=MERGE)
    assert (written["status"], written["spec"].get("mtu")) == ({"phase": "Ready"}, None)
    written = await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", change, _content_type=MERGE)
    assert written["spec"]["mtu"] == 9000
    other = {"status": {"phase": "Draining"}}
    written = await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", other, _content_type=MERGE)
    assert written["status"] == {"phase": "Ready"}
    assert await objects.get_cluster_custom_object_status(*SUBFUNCTIONS, "blue") == written


async def test_an_object_with_a_finalizer_waits_for_it(objects: CustomObjectsApi) -> None:
    made = await created(objects, "blue")
    guarded = [
        {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
        {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]},
    ]
    held: Any = await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", guarded, _content_type=JSON_PATCH)
    assert held["metadata"]["finalizers"] == [FINALIZER]
    await objects.delete_cluster_custom_object(*SUBFUNCTIONS, "blue")
    waiting: Any = await objects.get_cluster_custom_object(*SUBFUNCTIONS, "blue")
    assert waiting["metadata"]["deletionTimestamp"]
    without = {"metadata": {"finalizers": None}}
    await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", without, _content_type=MERGE)
    left: Any = await objects.list_cluster_custom_object(*SUBFUNCTIONS)
    assert left["items"] == []


async def test_what_is_refused_has_its_code_its_reason_and_its_words(objects: CustomObjectsApi) -> None:
    made = await created(objects, "blue")
    refusals = [
        (404, "NotFound", objects.get_cluster_custom_object(*SUBFUNCTIONS, "red")),
        (404, "NotFound", objects.delete_cluster_custom_object(*SUBFUNCTIONS, "red")),
        (409, "AlreadyExists", objects.create_cluster_custom_object(*SUBFUNCTIONS, body("blue"))),
        (422, "Invalid", objects.create_cluster_custom_object(*SUBFUNCTIONS, body("green", flavour="none"))),
        (
            422,
            "Invalid",
            objects.patch_cluster_custom_object(
                *SUBFUNCTIONS, "blue", [{"op": "test", "path": "/metadata/uid", "value": "x"}], _content_type=JSON_PATCH
            ),
        ),
    ]
    await objects.patch_cluster_custom_object(*SUBFUNCTIONS, "blue", {"spec": {"mtu": 9000}}, _content_type=MERGE)
    refusals.append((409, "Conflict", objects.replace_cluster_custom_object(*SUBFUNCTIONS, "blue", made)))
    for code, reason, request in refusals:
        with pytest.raises(ApiException) as refused:
            await request
        assert refused.value.status == code
        assert f'"reason":"{reason}"' in (refused.value.body or "").replace(": ", ":")


async def test_a_deletion_may_name_the_object_that_it_means(objects: CustomObjectsApi) -> None:
    await created(objects, "blue")
    other = V1DeleteOptions(preconditions=V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))
    with pytest.raises(ApiException) as refused:
        await objects.delete_cluster_custom_object(*SUBFUNCTIONS, "blue", body=other)
    assert refused.value.status == 409


async def test_an_event_is_written_and_found_by_what_it_is_about(core: CoreV1Api) -> None:
    for name in ("blue", "red"):
        event = CoreV1Event(
            metadata=V1ObjectMeta(name=f"{name}.1"),
            involved_object=V1ObjectReference(kind="SubFunction", name=name),
            reason="Created",
            type="Normal",
        )
        await core.create_namespaced_event("default", event)
    found = await core.list_event_for_all_namespaces(field_selector="involvedObject.name=blue")
    assert [(each.metadata.name, each.reason) for each in found.items] == [("blue.1", "Created")]


async def test_a_lease_is_taken_by_one_of_two(client: ApiClient) -> None:
    leases = CoordinationV1Api(client)
    spec = V1LeaseSpec(holder_identity="one", lease_duration_seconds=15)
    made = await leases.create_namespaced_lease(
        "default", V1Lease(metadata=V1ObjectMeta(name="subfunction-controller"), spec=spec)
    )
    for taker in ("two", "three"):
        wanted = made.model_copy(update={"spec": V1LeaseSpec(holder_identity=taker, lease_duration_seconds=15)})
        if taker == "two":
            await leases.replace_namespaced_lease("subfunction-controller", "default", wanted)
        else:
            with pytest.raises(ApiException) as refused:
                await leases.replace_namespaced_lease("subfunction-controller", "default", wanted)
            assert refused.value.status == 409
    now = await leases.read_namespaced_lease("subfunction-controller", "default")
    assert now.spec is not None
    assert now.spec.holder_identity == "two"
