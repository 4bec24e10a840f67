"""The scale subresource: what kubectl and autoscalers see of a pool, and may change."""

from subfunction_simulator.apiserver.client import Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctionpools"
FAST, SCALE = f"{ALL}/fast", f"{ALL}/fast/scale"
BODY = {
    "apiVersion": "subfunction.dev/v1alpha1",
    "kind": "SubFunctionPool",
    "metadata": {"name": "fast"},
    "spec": {"replicas": 2, "template": {"spec": {"flavour": "mlx5"}}},
}


async def test_a_scale_shows_what_is_asked_and_what_there_is(api: Client) -> None:
    made = await api("POST", ALL, BODY)
    status = {"status": {"replicas": 1, "selector": "subfunction.dev/pool=fast"}}
    told = await api("PATCH", f"{FAST}/status", status, media="application/merge-patch+json")
    shown = (await api("GET", SCALE)).body
    assert (shown["kind"], shown["apiVersion"]) == ("Scale", "autoscaling/v1")
    kept = ("name", "uid", "resourceVersion", "creationTimestamp")
    assert shown["metadata"] == {name: told.metadata[name] for name in kept}
    assert shown["metadata"]["uid"] == made.metadata["uid"]
    assert (shown["spec"], shown["status"]) == ({"replicas": 2}, status["status"])


async def test_a_scale_is_changed_by_patch_and_by_put_and_is_a_change_of_the_spec(api: Client) -> None:
    await api("POST", ALL, BODY)
    patched = await api.merge(SCALE, {"spec": {"replicas": 5}})
    assert (patched.code, patched.body["kind"], patched.body["spec"]) == (200, "Scale", {"replicas": 5})
    now = await api("GET", FAST)
    assert (now.body["spec"]["replicas"], now.metadata["generation"]) == (5, 2)
    put = await api("PUT", SCALE, patched.body | {"spec": {"replicas": 3}})
    assert (put.code, put.body["spec"]) == (200, {"replicas": 3})
    stale = await api("PUT", SCALE, patched.body | {"spec": {"replicas": 4}})
    assert (stale.code, stale.body["reason"]) == (409, "Conflict")
    assert (await api("GET", FAST)).body["spec"]["replicas"] == 3


async def test_a_scale_that_cannot_be_is_refused(api: Client) -> None:
    await api("POST", ALL, BODY)
    assert (await api.merge(SCALE, {"spec": {"replicas": -1}})).code == 422
    beyond = await api.merge(SCALE, {"spec": {"replicas": 5000}})
    assert (beyond.code, "replicas is 0 to 4096" in beyond.message) == (422, True)
    assert (await api("GET", f"{ALL}/none/scale")).code == 404
    assert (await api("DELETE", SCALE)).code == 405


async def test_what_has_no_scale_has_none(api: Client) -> None:
    assert (await api("GET", "/apis/subfunction.dev/v1alpha1/subfunctionnodes/n1/scale")).code == 404
