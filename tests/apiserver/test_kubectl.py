"""A person's kubectl, for real, against the embedded API server. Each call costs a process, so they are few."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.under_test import AnyApiServer
from subfunction_simulator.apiserver.client import Answer, Client
from subfunction_simulator.kubectl import kubectl

BLUE = "/apis/subfunction.dev/v1alpha1/subfunctions/blue"
MANIFEST = """
apiVersion: subfunction.dev/v1alpha1
kind: SubFunction
metadata: {name: blue}
spec:
  nodeName: n1
  parent: {device: "pci/0000:05:00.0"}
  flavour: mlx5
  mtu: 1500
"""
READY = """{"status": {"number": 7, "port": 32768, "macAddress": "02:53:46:00:00:01",
"device": {"id": "mlx5_core.sf.4"}, "allocatedTo": {"namespace": "default", "name": "web"},
"conditions": [{"type": "Ready", "status": "True",
"reason": "AsAsked", "message": "", "lastTransitionTime": "2026-11-22T09:00:00Z"}]}}"""
COLUMNS = ["NAME", "NODE", "PARENT", "FLAVOUR", "NUMBER", "DEVICE", "READY", "POD", "AGE", "MAC", "PORT", "REASON"]
Kubectl = Callable[..., Coroutine[Any, Any, tuple[int, str]]]
Make = Callable[..., Awaitable[Answer]]


@pytest.fixture(scope="session")
def program() -> Path:
    return kubectl()


@pytest.fixture
def run(program: Path, api_server: AnyApiServer, tmp_path: Path) -> Kubectl:
    """Call kubectl with a home of its own; gives its exit code and all it said."""
    config = tmp_path / "kubeconfig"
    config.write_text(api_server.kubeconfig())

    async def call(*words: str, given: str = "", **environment: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(config), **environment},
        )
        async with asyncio.timeout(20):
            said, _ = await process.communicate(given.encode())
        return process.returncode or 0, said.decode()

    return call


async def test_apply_get_change_and_delete(run: Kubectl, api: Client) -> None:
    assert await run("apply", "-f", "-", given=MANIFEST) == (0, "subfunction.subfunction.dev/blue created\n")
    assert await run("apply", "-f", "-", given=MANIFEST) == (0, "subfunction.subfunction.dev/blue unchanged\n")
    changed = MANIFEST.replace("1500", "9000")
    assert await run("apply", "-f", "-", given=changed) == (0, "subfunction.subfunction.dev/blue configured\n")
    assert (await api("GET", BLUE)).body["spec"]["mtu"] == 9000
    code, said = await run("patch", "sf", "blue", "--subresource=status", "--type=merge", "-p", READY)
    assert code == 0, said
    assert await run("wait", "--for=condition=Ready", "sf/blue", "--timeout=5s") == (
        0,
        "subfunction.subfunction.dev/blue condition met\n",
    )
    _, said = await run("get", "sf", "-o", "wide", "--field-selector", "spec.nodeName=n1")
    header, row = (line.split() for line in said.splitlines())
    assert header == COLUMNS
    assert row[:7] == ["blue", "n1", "mlx5", "7", "mlx5_core.sf.4", "True", "web"]
    assert row[8:] == ["02:53:46:00:00:01", "32768", "AsAsked"]
    assert (await run("delete", "sf", "blue"))[0] == 0
    assert (await api("GET", BLUE)).code == 404


async def test_several_objects_in_one_list_are_applied(run: Kubectl) -> None:
    """OpenAPI v3 names no `v1 List`, so kubectl asks for v2."""
    items = [yaml.safe_load(MANIFEST), yaml.safe_load(MANIFEST.replace("blue", "red"))]
    code, said = await run(
        "apply", "-f", "-", given=yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    )
    assert (code, said.count("created")) == (0, 2)


async def test_a_wrong_manifest_is_refused_in_words_that_help(run: Kubectl) -> None:
    code, said = await run("apply", "-f", "-", given=MANIFEST.replace("mlx5", "mlx4"))
    sentence = 'spec.flavour: Invalid value: "mlx4": flavour is one of mlx5, ice, virtio, vfio'
    assert (code, said) == (1, f'The SubFunction "blue" is invalid: {sentence}\n')
    code, said = await run("apply", "-f", "-", given=MANIFEST.replace("mtu", "mtv"))
    assert (code, 'strict decoding error: unknown field "spec.mtv"' in said) == (1, True), said


async def test_edit_and_label(run: Kubectl, api: Client, make: Make) -> None:
    await make("blue", mtu=1500)
    code, said = await run("edit", "sf", "blue", EDITOR="sed -i s/1500/9000/")
    assert (code, said) == (0, "subfunction.subfunction.dev/blue edited\n")
    assert (await run("label", "sf", "blue", "team=red"))[0] == 0
    changed = await api("GET", BLUE)
    assert (changed.body["spec"]["mtu"], changed.metadata["labels"]) == (9000, {"team": "red"})
    code, said = await run("edit", "sf", "blue", EDITOR="sed -i s/9000/9/")
    assert (code, "is invalid" in said) == (1, True), said


async def test_describe_shows_an_object_with_its_events(run: Kubectl, api: Client, make: Make) -> None:
    made = await make("blue")
    about = {
        "kind": "SubFunction",
        "name": "blue",
        "uid": made.metadata["uid"],
        "apiVersion": "subfunction.dev/v1alpha1",
    }
    event = {
        "metadata": {"generateName": "blue-"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "NotSwitchdev",
        "message": "type: devlink dev eswitch set pci/0000:05:00.0 mode switchdev",
        "lastTimestamp": made.metadata["creationTimestamp"],
    }
    await api("POST", "/api/v1/namespaces/default/events", event)
    _, described = await run("describe", "sf", "blue")
    assert "Device:  pci/0000:05:00.0" in described
    assert "devlink dev eswitch set" in described.partition("Events:")[2]
    _, events = await run("get", "events")
    assert events.split()[:6] == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert "subfunction/blue" in events


async def test_both_kinds_are_reached_by_every_name_and_together_by_their_category(
    run: Kubectl, api: Client, make: Make
) -> None:
    await make("blue")
    sfnode = {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunctionNode", "metadata": {"name": "n1"}}
    await api("POST", "/apis/subfunction.dev/v1alpha1/subfunctionnodes", sfnode)
    for word in ("subfunction", "subfunctions", "sf", "SubFunction"):
        assert await run("get", word, "blue", "-o", "name") == (0, "subfunction.subfunction.dev/blue\n")
    for word in ("subfunctionnode", "subfunctionnodes", "sfnode"):
        assert await run("get", word, "n1", "-o", "name") == (0, "subfunctionnode.subfunction.dev/n1\n")
    both = "subfunctionnode.subfunction.dev/n1\nsubfunction.subfunction.dev/blue\n"
    assert await run("get", "sf-all", "-o", "name") == (0, both)
    code, said = await run("explain", "sfnode.status.parents.capacity")
    assert (code, "max_local_SFs" in said) == (0, True), said


async def test_explain_tells_unit_and_example(run: Kubectl) -> None:
    code, said = await run("explain", "sf.spec.mtu")
    assert (code, "link MTU" in said, "in bytes" in said, "9000" in said) == (0, True, True, True), said
    code, said = await run("explain", "sf.spec")
    assert (code, "resourceName\t<string>" in said, "flavour\t<string> -required-" in said) == (0, True, True), said


async def test_core_objects_are_applied_and_deletion_is_waited_for(run: Kubectl, api: Client) -> None:
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: web, finalizers: [subfunction.dev/test]}
spec:
  containers: [{name: main, image: a}, {name: side, image: b}]
"""
    assert await run("apply", "-f", "-", given=pod) == (0, "pod/web created\n")
    assert await run("apply", "-f", "-", given=pod.replace("image: b", "image: c")) == (0, "pod/web configured\n")
    pods = "/api/v1/namespaces/default/pods"
    containers = (await api("GET", f"{pods}/web")).body["spec"]["containers"]
    assert [(each["name"], each["image"]) for each in containers] == [("main", "a"), ("side", "c")]
    deletion = asyncio.create_task(run("delete", "pod", "web"))
    async with api.watch(pods) as events:
        kind, obj = await events.next()
        while "deletionTimestamp" not in obj["metadata"]:
            kind, obj = await events.next()
    assert kind in ("ADDED", "MODIFIED")
    assert not deletion.done()
    await api.merge(f"{pods}/web", {"metadata": {"finalizers": None}})
    code, said = await deletion
    assert (code, said.startswith('pod "web" deleted')) == (0, True), said


async def test_diff_and_a_dry_run_show_what_an_apply_would_change_and_change_nothing(run: Kubectl, api: Client) -> None:
    code, said = await run("diff", "-f", "-", given=MANIFEST)
    assert (code, "+  flavour: mlx5" in said) == (1, True), said
    assert (await api("GET", BLUE)).code == 404
    assert (await run("apply", "-f", "-", given=MANIFEST))[0] == 0
    assert await run("diff", "-f", "-", given=MANIFEST) == (0, "")
    changed = MANIFEST.replace("1500", "9000")
    for how in ((), ("--server-side", "--force-conflicts")):
        code, said = await run("diff", "-f", "-", *how, given=changed)
        assert (code, "-  mtu: 1500\n+  mtu: 9000\n" in said) == (1, True), said
        code, said = await run("apply", "-f", "-", "--dry-run=server", *how, given=changed)
        assert (code, "(server dry run)" in said) == (0, True), said
    code, said = await run("apply", "-f", "-", "--dry-run=server", given=MANIFEST.replace("mlx5", "mlx4"))
    assert (code, "flavour is one of mlx5, ice, virtio, vfio" in said) == (1, True), said
    assert (await api("GET", BLUE)).body["spec"]["mtu"] == 1500


async def test_server_side_apply_from_creation_over_a_conflict_to_taking_it(run: Kubectl, api: Client) -> None:
    applied = "subfunction.subfunction.dev/blue serverside-applied\n"
    assert await run("apply", "--server-side", "-f", "-", given=MANIFEST) == (0, applied)
    assert (await run("patch", "sf", "blue", "--type=merge", "-p", '{"spec": {"mtu": 9000}}'))[0] == 0
    code, said = await run("apply", "--server-side", "-f", "-", given=MANIFEST)
    assert (code, 'conflict with "kubectl-patch"' in said, ".spec.mtu" in said) == (1, True, True), said
    assert await run("apply", "--server-side", "--force-conflicts", "-f", "-", given=MANIFEST) == (0, applied)
    assert (await api("GET", BLUE)).body["spec"]["mtu"] == 1500
    _, shown = await run("get", "sf", "blue", "-o", "yaml")
    assert "managedFields" not in shown
    _, shown = await run("get", "sf", "blue", "-o", "yaml", "--show-managed-fields")
    assert "manager: kubectl" in shown
    # An object that was applied by its annotation is taken over, and is nobody else's from then on.
    old = MANIFEST.replace("name: blue", "name: old")
    for how, what in (((), old), (("--server-side",), old), (("--server-side",), old.replace("1500", "9000"))):
        code, said = await run("apply", *how, "-f", "-", given=what)
        assert code == 0, said


async def test_every_kind_of_patch_a_replacement_and_a_wait_for_the_end(run: Kubectl, api: Client, make: Make) -> None:
    await make("blue", mtu=1500)
    assert (await run("patch", "sf", "blue", "--type=json", "-p", '[{"op": "remove", "path": "/spec/mtu"}]'))[0] == 0
    assert "mtu" not in (await api("GET", BLUE)).body["spec"]
    assert (await run("annotate", "sf", "blue", "why=because"))[0] == 0
    _, whole = await run("get", "sf", "blue", "-o", "yaml")
    code, said = await run("replace", "-f", "-", given=whole.replace("nodeName: n1", "nodeName: n1\n  mtu: 9000"))
    assert (code, said) == (0, "subfunction.subfunction.dev/blue replaced\n")
    assert (await api("GET", BLUE)).body["spec"]["mtu"] == 9000
    code, said = await run("wait", "--for=jsonpath={.status.phase}=Ready", "sf/blue", "--timeout=1s")
    assert (code, "timed out" in said) == (1, True), said
    waiting = asyncio.create_task(run("wait", "--for=delete", "sf/blue", "--timeout=20s"))
    assert (await run("delete", "sf", "blue", "--wait=false"))[0] == 0
    assert (await waiting)[0] == 0
