"""What a pool says of its sub-functions is what a SubFunction says: one source, and what may change may change."""

import os
from typing import Any

import msgspec
import pytest
import yaml

from fleet.model import pool
from fleet.template import IDENTITY, POOLS, SOURCE, whole
from subfunction.api.subfunction import Spec, TemplateSpec
from subfunction_operator.controller.pools.planner import FIXED
from subfunction_simulator.apiserver.client import Client

ALL = "/apis/subfunction.dev/v1alpha1/subfunctions"


def test_the_parts_that_are_the_subfunctions_are_as_they_stand_there() -> None:
    written = POOLS.read_text()
    if os.environ.get("SUBFUNCTION_WRITE_CRDS"):
        POOLS.write_text(whole(written))
    assert POOLS.read_text() == whole(written), "type `make crds`"


def test_the_template_has_each_field_but_those_that_make_it_one() -> None:
    theirs, ours = (yaml.safe_load(path.read_text())["spec"]["versions"][0] for path in (SOURCE, POOLS))
    spec = theirs["schema"]["openAPIV3Schema"]["properties"]["spec"]
    template = ours["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["template"]["properties"]["spec"]
    assert set(template["properties"]) == set(spec["properties"]) - set(IDENTITY)
    assert set(template["properties"]) == {field.encode_name for field in msgspec.structs.fields(TemplateSpec)}
    assert set(spec["properties"]) == {field.encode_name for field in msgspec.structs.fields(Spec)}
    assert "oldSelf" not in str(template)


# A template field, what it is first, what it becomes.
CHANGES: list[tuple[str, Any, Any]] = [
    ("flavour", "mlx5", "virtio"),
    ("mtu", 1500, 9000),
    ("capabilities", {"roce": True}, {}),
    ("rate", {"shareBitsPerSecond": 1_000_000}, {"maxBitsPerSecond": 2_000_000}),
    ("mlx5", {"rdma": False}, {"rdma": True}),
    ("virtio", {"queuePairs": 2}, {"mtu": 1500}),
    ("vfio", {"virtualFunction": 0}, {"virtualFunction": 1}),
    ("representor", {"mtu": 9000}, {"adminState": "down"}),
    ("resourceName", "example.com/a", "example.com/b"),
    ("deletionPolicy", "Drain", "Force"),
]


@pytest.mark.parametrize(("field", "before", "after"), CHANGES, ids=[change[0] for change in CHANGES])
async def test_what_is_replaced_is_what_the_server_lets_nobody_change(
    api: Client, field: str, before: Any, after: Any
) -> None:
    assert {change[0] for change in CHANGES} == {each.encode_name for each in msgspec.structs.fields(TemplateSpec)}
    flavour = field if field in {"virtio", "vfio"} else "mlx5"
    spec = {"flavour": flavour, "parent": {"device": "pci/0000:05:00.0"}, field: before}
    body = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": {"name": "blue"}, "spec": spec}
    assert (await api("POST", ALL, body)).code == 201
    patch = [{"op": "replace", "path": f"/spec/{field}", "value": after}]
    changed = await api("PATCH", f"{ALL}/blue", patch, media="application/json-patch+json", dryRun="All")
    fixed = {each.encode_name for each in msgspec.structs.fields(TemplateSpec) if each.name in FIXED}
    assert changed.code == (422 if field in fixed else 200), changed.body


def test_a_part_is_rounded_up_and_never_nothing() -> None:
    def most(given: int | str, of: int) -> int:
        return pool(updateStrategy={"maxUnavailable": given}).spec.update_strategy.most_unavailable(of)

    assert [most("10%", of) for of in (0, 1, 10, 11, 128_000)] == [1, 1, 1, 2, 12_800]
    assert [most(4, of) for of in (0, 100)] == [4, 4]
