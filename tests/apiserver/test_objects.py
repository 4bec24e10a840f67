"""What a write does to an object, as a client sees it."""

from collections.abc import Awaitable, Callable

import pytest

from components.under_test import AnyApiServer
from subfunction_simulator.apiserver.client import Answer, Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"
BLUE = f"{ALL}/blue"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
SPEC = {"flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}}
HEAD = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction"}
Make = Callable[..., Awaitable[Answer]]


async def test_a_created_object_has_what_a_server_gives(api: Client) -> None:
    body = HEAD | {"metadata": {"name": "blue"}, "spec": SPEC | {"mlx5": {}}, "status": {"phase": "Ready"}}
    answer = await api("POST", ALL, body)
    assert answer.code == 201
    assert (answer.body["apiVersion"], answer.body["kind"]) == ("subfunction.dev/v1alpha1", "SubFunction")
    assert answer.metadata["generation"] == 1
    assert len(answer.metadata["uid"]) == 36
    assert answer.metadata["creationTimestamp"].endswith("Z")
    assert answer.metadata["resourceVersion"].isdecimal()
    assert answer.body["spec"]["mlx5"] == {"ethernet": True, "rdma": True}
    assert "status" not in answer.body
    assert (await api("GET", BLUE)).body == answer.body


async def test_a_name_is_taken_once_and_generated_on_request(api: Client, make: Make) -> None:
    await make("blue")
    again = await api("POST", ALL, HEAD | {"metadata": {"name": "blue"}, "spec": SPEC})
    assert (again.code, again.body["reason"]) == (409, "AlreadyExists")
    assert again.message == 'subfunctions.subfunction.dev "blue" already exists'
    generated = await api("POST", ALL, HEAD | {"metadata": {"generateName": "blue-"}, "spec": SPEC})
    assert generated.metadata["name"].startswith("blue-")
    assert len(generated.metadata["name"]) == len("blue-") + 5


async def test_spec_and_status_are_written_apart(api: Client, make: Make) -> None:
    made = await make("blue")
    status = await api.merge(f"{BLUE}/status", {"status": {"phase": "Ready"}, "spec": {"mtu": 9000}})
    assert (status.body["status"], status.body["spec"], status.metadata["generation"]) == (
        {"phase": "Ready"},
        made.body["spec"],
        1,
    )
    spec = await api.merge(BLUE, {"status": {"phase": "Failed"}, "spec": {"mtu": 9000}})
    assert (spec.body["status"], spec.body["spec"]["mtu"], spec.metadata["generation"]) == (
        {"phase": "Ready"},
        9000,
        2,
    )
    labelled = await api.merge(BLUE, {"metadata": {"labels": {"a": "b"}}})
    assert labelled.metadata["generation"] == 2


async def test_a_write_that_changes_nothing_has_no_revision(api: Client, make: Make) -> None:
    made = await make("blue", mtu=1500)
    same = await api.merge(BLUE, {"spec": {"mtu": 1500}})
    assert same.metadata["resourceVersion"] == made.metadata["resourceVersion"]


async def test_a_stale_put_is_a_conflict(api: Client, make: Make) -> None:
    stale = (await make("blue")).body
    await api.merge(BLUE, {"spec": {"mtu": 1500}})
    answer = await api("PUT", BLUE, stale)
    assert (answer.code, answer.body["reason"]) == (409, "Conflict")
    assert "the object has been modified; please apply your changes to the latest version" in answer.message
    stale["metadata"].pop("resourceVersion")
    unconditional = await api("PUT", BLUE, stale)
    assert (unconditional.code, "must be specified for an update" in unconditional.message) == (422, True)
    fresh = (await api("GET", BLUE)).body
    fresh["spec"]["mtu"] = 9000
    assert (await api("PUT", BLUE, fresh)).body["spec"]["mtu"] == 9000


async def test_a_json_patch_whose_test_fails_is_unprocessable(api: Client, make: Make) -> None:
    made = await make("blue")
    add = {"op": "add", "path": "/metadata/finalizers", "value": ["subfunction.dev/agent"]}
    stale = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}
    refused = await api("PATCH", BLUE, [stale, add], media=JSON_PATCH)
    assert (refused.code, refused.body["reason"]) == (422, "Invalid")
    assert "finalizers" not in (await api("GET", BLUE)).metadata
    fresh = stale | {"value": made.metadata["resourceVersion"]}
    patched = await api("PATCH", BLUE, [fresh, add], media=JSON_PATCH)
    assert patched.metadata["finalizers"] == ["subfunction.dev/agent"]
    assert (await api("PATCH", BLUE, [{"op": "fly"}], media=JSON_PATCH)).code == 422
    assert (await api("PATCH", BLUE, {"op": "add"}, media=JSON_PATCH)).code == 400


async def test_a_merge_patch_replaces_lists_and_removes_by_null(api: Client, make: Make) -> None:
    await make("blue", flavour="virtio", virtio={"features": ["MAC", "MTU"]}, mtu=1500)
    patched = await api.merge(BLUE, {"spec": {"virtio": {"features": ["CSUM"]}, "mtu": None}})
    assert patched.body["spec"]["virtio"] == {"driver": "vhost-vdpa", "features": ["CSUM"]}
    assert "mtu" not in patched.body["spec"]


async def test_what_a_custom_kind_does_not_take_is_refused_by_its_media_type(api: Client, make: Make) -> None:
    await make("blue")
    strategic = await api("PATCH", BLUE, {}, media=STRATEGIC)
    assert (strategic.code, "application/merge-patch+json" in strategic.message) == (415, True)


async def test_a_strategic_patch_of_a_pod_merges_its_containers_by_name(api: Client) -> None:
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "a", "image": "x", "tty": True}, {"name": "b", "image": "y"}]}
    await api("POST", pods, {"metadata": {"name": "p", "finalizers": ["a.b/a"]}, "spec": spec})
    change = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/a"], "finalizers": ["b.b/b"]},
        "spec": {
            "containers": [{"name": "a", "image": "z"}],
            "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        },
    }
    patched = await api("PATCH", f"{pods}/p", change, media=STRATEGIC)
    containers = [(each["name"], each["image"], each.get("tty")) for each in patched.body["spec"]["containers"]]
    assert containers == [("a", "z", True), ("b", "y", None)]
    assert patched.metadata["finalizers"] == ["b.b/b"]


async def test_a_strategic_patch_of_a_node_replaces_merges_and_deletes_its_conditions(api: Client) -> None:
    nodes = "/api/v1/nodes"
    first, second = ({"type": kind, "status": "True", "reason": "r"} for kind in ("Ready", "DiskPressure"))
    await api("POST", nodes, {"metadata": {"name": "n1"}, "status": {"conditions": [first, second]}})
    change = [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "$patch": "delete"}]
    patched = await api("PATCH", f"{nodes}/n1/status", {"status": {"conditions": change}}, media=STRATEGIC)
    told = [(each["type"], each["status"], each["reason"]) for each in patched.body["status"]["conditions"]]
    assert told == [("Ready", "False", "r")]


async def test_finalizers_hold_a_deleted_object_until_the_last_is_gone(api: Client, make: Make) -> None:
    await make("blue")
    await api.merge(BLUE, {"metadata": {"finalizers": ["subfunction.dev/agent", "other/one"]}})
    marked = await api("DELETE", BLUE)
    assert (marked.code, marked.body["kind"], marked.metadata["generation"]) == (200, "SubFunction", 2)
    again = await api("DELETE", BLUE)
    assert again.metadata["deletionTimestamp"] == marked.metadata["deletionTimestamp"]
    added = await api.merge(BLUE, {"metadata": {"finalizers": ["other/one", "late/one"]}})
    assert (added.code, "no new finalizers can be added" in added.message) == (422, True)
    assert (await api.merge(BLUE, {"metadata": {"finalizers": ["other/one"]}})).code == 200
    assert (await api("GET", BLUE)).code == 200
    await api.merge(BLUE, {"metadata": {"finalizers": None}})
    assert (await api("GET", BLUE)).code == 404


async def test_a_delete_hits_only_the_object_it_was_meant_for(api: Client, make: Make) -> None:
    made = await make("blue")
    for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
        refused = await api("DELETE", BLUE, {"preconditions": wrong})
        assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    deleted = await api("DELETE", BLUE, {"preconditions": {"uid": made.metadata["uid"]}})
    assert (deleted.body["status"], deleted.body["details"]["uid"]) == ("Success", made.metadata["uid"])
    gone = await api("DELETE", BLUE)
    assert (gone.code, gone.message) == (404, 'subfunctions.subfunction.dev "blue" not found')


async def test_a_collection_is_deleted_by_selector(api: Client, make: Make) -> None:
    for name, node in (("a", "n1"), ("b", "n2"), ("c", "n1")):
        await make(name, nodeName=node)
    removed = await api("DELETE", ALL, fieldSelector="spec.nodeName=n1")
    assert [obj["metadata"]["name"] for obj in removed.body["items"]] == ["a", "c"]
    assert [obj["metadata"]["name"] for obj in (await api("GET", ALL)).body["items"]] == ["b"]


async def test_unknown_fields_are_dropped_with_a_warning_or_refused(api: Client) -> None:
    spec = SPEC | {"speed": 9, "mlx5": {"roce": True}}
    body = HEAD | {"metadata": {"name": "blue", "colour": "blue"}, "spec": spec}
    strict = await api("POST", ALL, body, fieldValidation="Strict")
    assert strict.code == 400
    assert strict.message == (
        'SubFunction in version "v1alpha1" cannot be handled as a SubFunction: strict decoding error: '
        'unknown field "metadata.colour", unknown field "spec.mlx5.roce", unknown field "spec.speed"'
    )
    lenient = await api("POST", ALL, body)
    assert (lenient.code, lenient.headers["Warning"]) == (201, '299 - "unknown field \\"metadata.colour\\""')
    assert lenient.body["spec"] == SPEC | {"mlx5": {"ethernet": True, "rdma": True}}
    patched = await api(
        "PATCH", BLUE, {"spec": {"speed": 9}}, media="application/merge-patch+json", fieldValidation="Strict"
    )
    assert (patched.code, 'unknown field "spec.speed"' in patched.message) == (422, True)


async def test_a_dry_run_judges_and_stores_nothing(api: Client) -> None:
    body = HEAD | {"metadata": {"name": "blue"}, "spec": SPEC}
    assert (await api("POST", ALL, body, dryRun="All")).code == 201
    assert (await api("GET", BLUE)).code == 404
    assert (await api("POST", ALL, body | {"spec": {}}, dryRun="All")).code == 422
    await api("POST", ALL, body)
    assert (await api("DELETE", BLUE, dryRun="All")).code == 200
    assert (await api("GET", BLUE)).code == 200


async def test_all_that_is_wrong_is_said_at_once_with_its_cause(api: Client) -> None:
    body = HEAD | {"metadata": {"name": "blue"}, "spec": SPEC | {"flavour": "mlx4", "mtu": 1}}
    refused = await api("POST", ALL, body)
    assert refused.message.startswith('SubFunction.subfunction.dev "blue" is invalid: [')
    refused.body["details"]["causes"].sort(key=lambda cause: cause["field"])  # a real server's order is any
    assert refused.body["details"] == {
        "name": "blue",
        "group": "subfunction.dev",
        "kind": "SubFunction",
        "causes": [
            {
                "reason": "FieldValueInvalid",
                "message": 'Invalid value: "mlx4": flavour is one of mlx5, ice, virtio, vfio',
                "field": "spec.flavour",
            },
            {
                "reason": "FieldValueInvalid",
                "message": "Invalid value: 1: mtu is 68 to 9978 bytes, like 9000",
                "field": "spec.mtu",
            },
        ],
    }


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ([], 400, "the object provided is unrecognized"),
        (HEAD | {"metadata": {"name": "Blue"}, "spec": SPEC}, 422, "a lowercase RFC 1123 subdomain"),
        (HEAD | {"metadata": {}, "spec": SPEC}, 422, "name or generateName is required"),
        (HEAD | {"metadata": {"name": "a", "labels": {"b": 1}}, "spec": SPEC}, 400, "cannot be handled as a SubFunc"),
        ({"metadata": {"name": "a"}, "spec": SPEC}, 400, "Object 'Kind' is missing in"),
        (HEAD | {"kind": "Pod", "metadata": {"name": "a"}, "spec": SPEC}, 422, "must be SubFunction"),
        (HEAD | {"apiVersion": "v1", "metadata": {"name": "a"}, "spec": SPEC}, 400, "does not match the expected API"),
        (HEAD | {"metadata": {"name": "a"}}, 422, "spec: Required value"),
        (HEAD | {"metadata": {"name": "a"}, "spec": SPEC | {"flavour": None}}, 422, "spec.flavour: Required value"),
        (HEAD | {"metadata": {"name": "a"}, "spec": SPEC | {"mtu": "x"}}, 422, 'must be of type integer: "string"'),
    ],
)
async def test_a_malformed_object_is_refused(api: Client, body: object, code: int, said: str) -> None:
    refused = await api("POST", ALL, body)
    assert (refused.code, said in refused.message) == (code, True), refused.message


async def test_a_null_is_as_if_it_were_not_there(api: Client) -> None:
    spec = SPEC | {"mtu": None, "mlx5": {"rdma": None}}
    made = await api("POST", ALL, HEAD | {"metadata": {"name": "blue"}, "spec": spec})
    assert (made.code, made.body["spec"]) == (201, SPEC | {"mlx5": {"ethernet": True, "rdma": True}})


async def test_namespaced_kinds_live_in_namespaces_that_exist(api: Client) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "a"}]}}
    lost = await api("POST", "/api/v1/namespaces/blue/pods", pod)
    assert (lost.code, lost.message) == (404, 'namespaces "blue" not found')
    assert (await api("POST", "/api/v1/namespaces", {"metadata": {"name": "blue"}})).code == 201
    made = await api("POST", "/api/v1/namespaces/blue/pods", pod)
    assert (made.metadata["namespace"], made.body["status"]["phase"]) == ("blue", "Pending")
    assert (await api("POST", "/api/v1/pods", pod)).code == 405
    assert [each["metadata"]["name"] for each in (await api("GET", "/api/v1/pods")).body["items"]] == ["p"]


async def test_an_event_stands_where_its_object_is(api: Client) -> None:
    about = {"kind": "SubFunction", "name": "blue", "apiVersion": "subfunction.dev/v1alpha1"}
    event = {"metadata": {"generateName": "e-"}, "involvedObject": about, "reason": "NotSwitchdev", "type": "Warning"}
    assert (await api("POST", "/api/v1/namespaces/default/events", event)).code == 201
    refused = await api("POST", "/api/v1/namespaces/kube-public/events", event)
    assert (refused.code, "does not match event.namespace" in refused.message) == (422, True)


async def test_a_node_registers_with_its_status(api: Client) -> None:
    capacity = {"subfunction.dev/mlx5": "2"}
    made = await api("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}, "status": {"capacity": capacity}})
    assert made.body["status"]["capacity"] == capacity


async def test_the_state_outlives_an_outage_of_the_server(api: Client, api_server: AnyApiServer, make: Make) -> None:
    made = await make("blue")
    url = api_server.url
    await api_server.stop()
    await api_server.start()
    assert api_server.url == url
    assert (await api("GET", BLUE)).body == made.body
