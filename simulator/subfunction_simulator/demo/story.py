"""The story is the demo's main path: a manifest, a sub-function, a pod that has it, and all given back."""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from subfunction.errors import SubFunctionError
from subfunction.kernel.netlink.transport import UnixTransport
from subfunction_simulator.demo.cluster import PODS, SUB_FUNCTION_NODES, SUB_FUNCTIONS, Cluster, manifests
from subfunction_simulator.demo.narrator import Narrator
from subfunction_simulator.demo.processes import Processes, Stage, run_programs
from subfunction_simulator.demo.scene import RESOURCE, Scene
from subfunction_simulator.demo.settings import DemoSettings
from subfunction_simulator.kernel.topology import SHOWROOM

_PLACES = (Path(__file__).parents[3] / "examples", Path(__file__).parents[1] / "examples")
_LONGEST_TMPDIR = 24  # a socket's path has 107 characters at most, and the plugin's is the longest
_ANNOTATION = "simulator.subfunction.dev/main"


async def tell(settings: DemoSettings) -> None:
    """Tell it; leaves no process and no file behind, however it ends.

    Raises:
        SubFunctionError: a program did not start, or something that should have happened did not.
    """
    examples = settings.examples or next((place / "01-native-nic" for place in _PLACES if place.is_dir()), None)
    if examples is None or not (examples / "subfunction.yaml").is_file():
        raise SubFunctionError(f"no subfunction.yaml in {examples}", hint="Name its folder: `--examples DIR`.")
    if len(place := tempfile.gettempdir()) > _LONGEST_TMPDIR:
        raise SubFunctionError(f"{place} is too long for Unix sockets below it", hint="Set TMPDIR=/tmp.")
    root = Path(tempfile.mkdtemp(prefix="sf-demo-"))
    narrator = Narrator()
    try:
        print(
            f"sub-function operator {version('subfunction')}: "
            "every program for real, on a simulated kernel (no driver, no NIC)\n"
        )
        async with run_programs(Stage(root), settings.port, verbose=settings.verbose) as processes:
            await _play(settings, examples, Stage(root), processes, narrator)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    narrator.say("you", "all programs ended, all files removed")


async def _play(settings: DemoSettings, examples: Path, stage: Stage, processes: Processes, narrator: Narrator) -> None:
    url = yaml.safe_load(stage.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]["server"]
    async with aiohttp.ClientSession() as session:
        parents = tuple(card.handle for card in SHOWROOM.parents)
        scene = Scene(narrator, Cluster(session, url), UnixTransport(stage.netlink), parents)
        cards = [f"{card.handle} ({card.driver}, NUMA node {card.numa_node})" for card in SHOWROOM.parents]
        narrator.say("kernel", f"a simulated NIC in {len(cards)} slots: {', '.join(cards)}")
        narrator.say("api", f"the API server is at {url}")
        followers = [
            asyncio.create_task(follower)
            for follower in (
                scene.follow_objects(),
                scene.follow_kernel(),
                scene.follow_node(),
                scene.follow_reports(),
                scene.follow_pods(),
            )
        ]
        try:
            await _acts(settings, examples, scene, processes)
            if settings.keep:
                await _stay_up(stage, scene, processes)
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)


async def _acts(settings: DemoSettings, examples: Path, scene: Scene, processes: Processes) -> None:
    narrator, cluster = scene.narrator, scene.cluster

    async def until(what: str, so: Callable[[], bool]) -> None:
        await narrator.until(what, so, processes.check)

    narrator.say("you", f"kubectl apply -f {_short(examples)}/subfunction.yaml")
    wanted = manifests(examples / "subfunction.yaml")
    for manifest in wanted:
        await _create(cluster, SUB_FUNCTIONS, manifest)
    names = [manifest["metadata"]["name"] for manifest in wanted]
    await until("all are Ready", lambda: all(scene.ready(name) for name in names))
    await until(f"{RESOURCE} is allocatable", lambda: scene.allocatable == str(len(names)))

    narrator.say("you", "kubectl apply -f a manifest with a wrong flavour and a wrong MAC")
    refusal = await cluster.apply(SUB_FUNCTIONS, _wrong(wanted[0]))
    if refusal is None:
        raise SubFunctionError("a wrong manifest was accepted")
    narrator.say("api", 'The SubFunction "wrong" is invalid:')
    narrator.show([f"* {cause}" for cause in refusal.causes] or [refusal.message])

    narrator.say("you", f"kubectl apply -f {_short(examples)}/pod.yaml")
    (pod,) = manifests(examples / "pod.yaml")
    await _create(cluster, PODS, pod)
    name = pod["metadata"]["name"]
    await until("the pod runs", lambda: _phase(scene, name) in {"Running", "Failed"})
    narrator.show(_inside(scene.pods[name]))
    await until("the object names its pod", lambda: _holder(scene, names, name) is not None)
    narrator.say("you", "kubectl get sf -o wide")
    narrator.show(await cluster.table(SUB_FUNCTIONS, wide=True))
    await until("the node says what it can do", lambda: bool(scene.report))
    narrator.say("you", "kubectl get sfnode")
    narrator.show(await cluster.table(SUB_FUNCTION_NODES, wide=False))
    if settings.keep:
        return

    held = _holder(scene, names, name) or names[0]
    narrator.say("you", f"kubectl delete sf {held}   # while the pod has it")
    await cluster.delete(SUB_FUNCTIONS, held)
    await until(
        "it drains", lambda: bool(scene.objects[held]["metadata"].get("deletionTimestamp")) and not scene.ready(held)
    )
    narrator.say("you", f"kubectl delete pod {name}")
    await cluster.delete(PODS, name)
    await until("it is gone", lambda: held not in scene.objects)
    others = [other for other in names if other != held]
    narrator.say("you", f"kubectl delete sf {' '.join(others)}")
    for other in others:
        await cluster.delete(SUB_FUNCTIONS, other)
    await until("all are gone", lambda: not scene.objects)
    await until("none is allocatable", lambda: scene.allocatable == "0")
    left = await asyncio.to_thread(scene.ports)
    if left:
        raise SubFunctionError(f"the kernel still has {left}")
    narrator.say("kernel", "no sub-function is left: `devlink port show` is as before")


async def _stay_up(stage: Stage, scene: Scene, processes: Processes) -> None:
    scene.narrator.say("you", "the node stays up until Ctrl-C; in another shell:")
    scene.narrator.show(
        [
            f"export KUBECONFIG={stage.kubeconfig}",
            "kubectl get sf -o wide; kubectl describe sf blue; kubectl explain sf.spec; kubectl get events",
            "kubectl get sfnode -o wide; kubectl describe sfnode; kubectl get sf-all",
            "kubectl delete sf green; kubectl apply -f examples/01-native-nic/",
            "kubectl wait --for=condition=Ready sf/green",
        ]
    )
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            for name in await processes.revive():
                scene.narrator.say("kubelet", f"the {name} has ended, and is started again")
            await asyncio.sleep(1)


async def _create(cluster: Cluster, collection: str, manifest: Any) -> None:
    refusal = await cluster.apply(collection, manifest)
    if refusal is not None:
        raise SubFunctionError(f"the API server refused the example: {refusal.message}")


def _wrong(manifest: Any) -> Any:
    spec = {**manifest["spec"], "flavour": "mlx4", "macAddress": "01:00:5e:00:00:01"}
    return {**manifest, "metadata": {"name": "wrong"}, "spec": spec}


def _phase(scene: Scene, name: str) -> str | None:
    phase: str | None = scene.pods.get(name, {}).get("status", {}).get("phase")
    return phase


def _holder(scene: Scene, names: list[str], pod: str) -> str | None:
    held = (name for name in names if scene.objects[name].get("status", {}).get("allocatedTo", {}).get("name") == pod)
    return next(held, None)


def _inside(pod: Any) -> list[str]:
    """Show what the container sees: the stand-in kubelet writes it on the pod."""
    found = pod["metadata"].get("annotations", {}).get(_ANNOTATION)
    if not found:
        return []
    container = json.loads(found)
    lines = [f"{name}={value}" for name, value in sorted(container.get("env", {}).items())]
    return lines + [f"{device}" for device in container.get("devices", [])]


def _short(path: Path) -> str:
    return f"examples/{path.name}" if path.parent.name == "examples" else str(path)
