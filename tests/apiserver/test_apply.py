"""Server-side apply: who owns which field, what is a conflict, what is taken away."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from subfunction_simulator.apiserver.client import Answer, Client
from subfunction_simulator.apiserver.objects import JsonObject

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"
BLUE = f"{ALL}/blue"
APPLY = "application/apply-patch+yaml"
SPEC = {"nodeName": "n1", "flavour": "mlx5", "parent": {"device": "pci/0000:05:00.0"}}
Make = Callable[..., Awaitable[Answer]]
Apply = Callable[..., Awaitable[Answer]]


@pytest.fixture
def apply(api: Client) -> Apply:
    """Apply to `blue` as somebody, what is given beside its kind and name."""

    async def applied(who: str, below: str = "", *, labels: JsonObject | None = None, **rest: Any) -> Answer:
        query = {"fieldManager": who} if who else {}
        query |= {name: str(rest.pop(name)) for name in ("force", "dryRun", "fieldValidation") if name in rest}
        metadata = {"name": "blue", **({"labels": labels} if labels else {})}
        body = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": metadata, **rest}
        return await api("PATCH", f"{BLUE}{below}", body, media=APPLY, **query)

    return applied


def owners(answer: Answer) -> dict[tuple[str, ...], JsonObject]:
    """What belongs to whom."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in answer.metadata["managedFields"]
    }


async def test_an_apply_creates_and_changes_and_owns_what_it_names(api: Client, apply: Apply) -> None:
    made = await apply("me", spec=SPEC | {"mtu": 1500}, labels={"team": "red"})
    assert (made.code, made.metadata["generation"], made.body["spec"]["mtu"]) == (201, 1, 1500)
    assert owners(made) == {
        ("me", "Apply", ""): {
            "f:metadata": {"f:labels": {"f:team": {}}},
            "f:spec": {"f:flavour": {}, "f:mtu": {}, "f:nodeName": {}, "f:parent": {"f:device": {}}},
        }
    }
    changed = await apply("me", spec=SPEC | {"mtu": 9000}, labels={"team": "red"})
    assert (changed.code, changed.metadata["generation"], changed.body["spec"]["mtu"]) == (200, 2, 9000)
    same = await apply("me", spec=SPEC | {"mtu": 9000}, labels={"team": "red"})
    assert same.metadata["resourceVersion"] == changed.metadata["resourceVersion"]
    assert (await api("GET", BLUE)).body == same.body


async def test_what_an_applier_names_no_more_is_removed(apply: Apply) -> None:
    await apply("me", spec=SPEC | {"mtu": 1500, "representor": {"mtu": 1500}}, labels={"team": "red", "tier": "gold"})
    less = await apply("me", spec=SPEC | {"representor": {"mtu": 1500}}, labels={"tier": "gold"})
    assert less.body["spec"] == SPEC | {"representor": {"mtu": 1500, "adminState": "up"}}
    assert less.metadata["labels"] == {"tier": "gold"}


async def test_what_was_filled_in_around_it_goes_with_the_last_field_that_had_an_owner(apply: Apply) -> None:
    filled = await apply("me", spec=SPEC | {"mlx5": {"rdma": False}})
    assert filled.body["spec"]["mlx5"] == {"ethernet": True, "rdma": False}
    assert (await apply("me", spec=SPEC)).body["spec"] == SPEC


async def test_a_value_that_somebody_else_wants_otherwise_is_a_conflict_unless_forced(apply: Apply) -> None:
    await apply("one", spec=SPEC | {"mtu": 1500})
    refused = await apply("two", spec={**SPEC, "mtu": 9000})
    assert (refused.code, refused.body["reason"]) == (409, "Conflict")
    assert refused.message == 'Apply failed with 1 conflict: conflict with "one": .spec.mtu'
    assert refused.body["details"]["causes"] == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.mtu"}
    ]
    forced = await apply("two", spec={**SPEC, "mtu": 9000}, force="true")
    assert (forced.code, forced.body["spec"]["mtu"]) == (200, 9000)
    assert "f:mtu" not in owners(forced)["one", "Apply", ""]["f:spec"]
    assert "f:mtu" in owners(forced)["two", "Apply", ""]["f:spec"]


async def test_a_value_that_two_want_alike_stays_until_both_leave_it(apply: Apply) -> None:
    await apply("one", spec=SPEC | {"mtu": 1500})
    await apply("two", spec=SPEC | {"mtu": 1500})
    assert (await apply("one", spec=SPEC)).body["spec"]["mtu"] == 1500
    assert "mtu" not in (await apply("two", spec=SPEC)).body["spec"]


async def test_whoever_writes_otherwise_owns_what_he_wrote(api: Client, apply: Apply) -> None:
    await apply("me", spec=SPEC | {"mtu": 1500})
    merge = "application/merge-patch+json"
    patched = await api("PATCH", BLUE, {"spec": {"mtu": 9000}}, media=merge, fieldManager="person")
    assert owners(patched)["person", "Update", ""] == {"f:spec": {"f:mtu": {}}}
    refused = await apply("me", spec=SPEC | {"mtu": 1500})
    assert refused.message.startswith(
        'Apply failed with 1 conflict: conflict with "person" using subfunction.dev/v1alpha1'
    )
    assert (await apply("me", spec=SPEC)).body["spec"]["mtu"] == 9000


async def test_the_status_is_applied_on_its_own(apply: Apply, make: Make) -> None:
    await make("blue")
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    moment = {"lastTransitionTime": "2026-11-22T09:00:00Z"}
    mine = {"conditions": [ready | moment], "phase": "Ready"}
    applied = await apply("agent", "/status", status=mine, spec={"mtu": 9000})
    assert (applied.code, applied.body["status"], "mtu" in applied.body["spec"]) == (200, mine, False)
    condition: JsonObject = {
        "f:type": {},
        "f:status": {},
        "f:reason": {},
        "f:message": {},
        "f:lastTransitionTime": {},
        ".": {},
    }
    assert owners(applied)["agent", "Apply", "status"] == {
        "f:status": {"f:conditions": {'k:{"type":"Ready"}': condition}, "f:phase": {}}
    }
    placed = {"conditions": [ready | moment | {"type": "Placed"}]}
    both = await apply("controller", "/status", status=placed)
    assert [each["type"] for each in both.body["status"]["conditions"]] == ["Ready", "Placed"]
    left = await apply("agent", "/status", status={"phase": "Ready"})
    assert [each["type"] for each in left.body["status"]["conditions"]] == ["Placed"]


async def test_an_apply_is_judged_as_every_write(apply: Apply) -> None:
    assert (await apply("me", spec=SPEC | {"mtu": 1})).code == 422
    unknown = await apply("me", spec=SPEC | {"speed": 9}, fieldValidation="Ignore")
    assert (unknown.code, unknown.message.endswith(".spec.speed: field not declared in schema")) == (500, True)
    dry = await apply("me", spec=SPEC, dryRun="All")
    assert dry.code == 201
    assert (await apply("me", "/status", status={"phase": "Ready"})).code == 404
    anonymous = await apply("", spec=SPEC)
    assert (anonymous.code, "fieldManager: Required value: is required for apply patch" in anonymous.message) == (
        422,
        True,
    ), anonymous


async def test_a_configuration_may_be_yaml(api: Client) -> None:
    text = (
        f"apiVersion: subfunction.dev/v1alpha1\nkind: SubFunction\nmetadata: {{name: blue}}\nspec: {json.dumps(SPEC)}\n"
    )
    made = await api("PATCH", BLUE, text.encode(), media=APPLY, fieldManager="me")
    assert (made.code, made.body["spec"]) == (201, SPEC)


async def test_a_pods_containers_are_owned_one_by_one(api: Client) -> None:
    pod = "/api/v1/namespaces/default/pods/p"
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}}
    one = {"spec": {"nodeName": "n1", "containers": [{"name": "a", "image": "x"}]}}
    made = await api("PATCH", pod, head | one, media=APPLY, fieldManager="me")
    assert made.code == 201, made
    assert owners(made)["me", "Apply", ""]["f:spec"] == {
        "f:nodeName": {},
        "f:containers": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:image": {}}},
    }
    image = {"spec": {"containers": [{"name": "a", "image": "y"}]}}
    refused = await api("PATCH", pod, head | image, media=APPLY, fieldManager="you")
    assert (refused.code, '.spec.containers[name="a"].image' in refused.message) == (409, True), refused


async def test_who_owns_what_is_not_for_clients_to_say(api: Client, make: Make) -> None:
    made = await make("blue")
    claimed = await api.merge(BLUE, {"metadata": {"managedFields": [{"manager": "x"}]}, "spec": {"mtu": 1500}})
    assert claimed.code in (200, 422)
    assert "x" not in {entry["manager"] for entry in (await api("GET", BLUE)).metadata["managedFields"]}
    applied = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": made.metadata, "spec": SPEC}
    refused = await api("PATCH", BLUE, applied, media=APPLY, fieldManager="me")
    assert (refused.code, refused.message) == (400, "metadata.managedFields must be nil")
