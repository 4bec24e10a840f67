"""Lists: what is selected, in which portions, in which form."""

from collections.abc import Awaitable, Callable

import pytest

from subfunction_simulator.apiserver.client import Answer, Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
Make = Callable[..., Awaitable[Answer]]


def _names(answer: Answer) -> list[str]:
    assert answer.code == 200, answer.body
    return [obj["metadata"]["name"] for obj in answer.body["items"]]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.nodeName=n1", ["a", "b"]),
        ("spec.nodeName==n1,spec.flavour=ice", ["b"]),
        ("spec.nodeName!=n1", ["c"]),
        ("status.phase=", ["a", "b", "c"]),
        ("metadata.name=c", ["c"]),
        ("spec.nodeName=", []),
        ("", ["a", "b", "c"]),
    ],
)
async def test_a_field_selector_chooses_by_what_the_crd_names(
    api: Client, make: Make, selector: str, names: list[str]
) -> None:
    await make("c", nodeName="n2")
    await make("a", nodeName="n1")
    await make("b", nodeName="n1", flavour="ice")
    assert _names(await api("GET", ALL, fieldSelector=selector)) == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("team=red", ["a"]),
        ("team!=red", ["b", "c"]),
        ("team in (red, green)", ["a", "b"]),
        ("team notin (red)", ["b", "c"]),
        ("team", ["a", "b"]),
        ("!team", ["c"]),
        ("team,tier=gold", ["b"]),
        ("team=", []),
    ],
)
async def test_a_label_selector_chooses_by_labels(api: Client, make: Make, selector: str, names: list[str]) -> None:
    for name, labels in (("a", {"team": "red"}), ("b", {"team": "green", "tier": "gold"}), ("c", {})):
        await make(name)
        await api.merge(f"{ALL}/{name}", {"metadata": {"labels": labels}})
    assert _names(await api("GET", ALL, labelSelector=selector)) == names


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"fieldSelector": "spec.mtu=1500"}, "field label not supported: spec.mtu"),
        ({"fieldSelector": "spec.nodeName"}, "invalid selector"),
        ({"labelSelector": "a b"}, "unable to parse requirement"),
        ({"continue": "?"}, "continue key is not valid"),
        ({"limit": "ten"}, "invalid syntax"),
    ],
)
async def test_a_selector_that_cannot_be_obeyed_is_refused(api: Client, query: dict[str, str], said: str) -> None:
    refused = await api("GET", ALL, None, **query)
    assert (refused.code, said in refused.message) == (400, True), refused.message


async def test_events_are_chosen_by_what_they_are_about(api: Client) -> None:
    for reason, name in (("Created", "blue"), ("NotSwitchdev", "red")):
        about = {"kind": "SubFunction", "name": name}
        event = {"metadata": {"name": f"{name}.1"}, "involvedObject": about, "reason": reason, "type": "Normal"}
        assert (await api("POST", "/api/v1/namespaces/default/events", event)).code == 201
    events = "/api/v1/events"
    assert _names(await api("GET", events, fieldSelector="involvedObject.name=red,type=Normal")) == ["red.1"]
    assert _names(await api("GET", events, fieldSelector="reason=Created")) == ["blue.1"]


async def test_a_long_list_comes_in_pages_of_one_revision(api: Client, make: Make) -> None:
    for name in "abcde":
        await make(name)
    first = await api("GET", ALL, limit="2")
    assert (_names(first), first.metadata["remainingItemCount"]) == (["a", "b"], 3)
    await make("f")
    second = await api("GET", ALL, None, limit="2", **{"continue": first.metadata["continue"]})
    assert _names(second) == ["c", "d"]
    assert second.metadata["resourceVersion"] == first.metadata["resourceVersion"]
    last = await api("GET", ALL, None, limit="9", **{"continue": second.metadata["continue"]})
    assert (_names(last), last.metadata.get("continue", "")) == (["e"], "")


async def test_a_table_has_the_columns_of_the_crd(api: Client, make: Make) -> None:
    await make("blue")
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "Full",
        "message": "",
        "lastTransitionTime": "2026-11-22T09:00:00Z",
    }
    status = {"number": 7, "parent": "pci/0000:05:00.0", "port": 32768, "conditions": [ready]}
    await api.merge(f"{ALL}/blue/status", {"status": status})
    table = (await api("GET", ALL, accept=TABLE)).body
    columns = [(column["name"], column["priority"]) for column in table["columnDefinitions"]]
    narrow = ["Name", "Node", "Parent", "Flavour", "Number", "Device", "Ready", "Pod", "Age"]
    assert columns == [(name, 0) for name in narrow] + [("MAC", 1), ("Port", 1), ("Reason", 1)]
    cells = table["rows"][0]["cells"]
    assert cells[:8] == ["blue", "n1", "pci/0000:05:00.0", "mlx5", 7, None, "False", None]
    assert cells[9:] == [None, 32768, "Full"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_form_that_is_not_served_is_not_acceptable(api: Client) -> None:
    refused = await api("GET", ALL, accept="application/vnd.kubernetes.protobuf")
    assert refused.code == 406
    mixed = await api("GET", ALL, accept="application/vnd.kubernetes.protobuf,application/json")
    assert mixed.body["kind"] == "SubFunctionList"
