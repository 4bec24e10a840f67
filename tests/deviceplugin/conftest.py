"""A node in a temporary folder: a fake agent that writes records, a fake sysfs, a kubelet, and the plugin."""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import grpc
import msgspec
import pytest

from subfunction.kubelet.podresources_pb2 import ListPodResourcesRequest
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerStub
from subfunction.state.claims import PortClaim
from subfunction.state.ledger import LedgerEntry, open_ledger
from subfunction.state.records import DeviceNode, Health, Record, State, Witness, open_records
from subfunction.state.resource_names import ResourceNames, open_resource_names
from subfunction_deviceplugin import main
from subfunction_deviceplugin.settings import Settings
from subfunction_simulator.kubelet.kubelet import Kubelet
from subfunction_simulator.kubelet.pods import Container, Pod, Rejected, Running

RESOURCE = "subfunction.dev/mlx5"
BOOT = "b007b007-0000-4000-8000-000000000001"


class KubeletLike(Protocol):
    """What these tests need of a kubelet; a real one on a test machine can be put behind it."""

    folder: Path

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def restart(self) -> None: ...
    async def admit(self, pod: Pod) -> Rejected | None: ...
    async def start_container(self, pod_uid: str, name: str) -> Running: ...
    def remove(self, pod_uid: str) -> None: ...
    def capacity(self) -> dict[str, int]: ...
    def allocatable(self) -> dict[str, int]: ...
    async def until(self, condition: Callable[[], bool], *, timeout: float = 10.0) -> None: ...  # noqa: ASYNC109


class Agent:
    """Writes what an agent would, and makes the sysfs directories that its witnesses name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sysfs = root / "sys"
        self.records = open_records(root / "devices")
        self.ledger = open_ledger(root / "allocations")
        self.resources = open_resource_names(root / "state")
        self._minor = itertools.count(192)
        # Kept open: a temporary file system would give a removed directory's inode to the next one, kernfs does not.
        self._held: list[int] = []

    def device(
        self,
        name: str,
        device_id: str,
        *,
        resource: str = RESOURCE,
        state: State = State.READY,
        health: Health | None = None,
        boot_id: str = BOOT,
        numa_node: int | None = None,
        nodes: Sequence[str] = (),
        env: dict[str, str] | None = None,
        parent: str = "",
    ) -> Record:
        path = f"devices/{device_id}"
        minor = next(self._minor)
        self.plug(device_id, f"231:{minor}")
        record = Record(
            uid=f"uid-{name}",
            name=name,
            boot_id=boot_id,
            state=state,
            claim=PortClaim(
                flavour="mlx5", parent="pci/0000:05:00.0", pf=0, number=minor, mac_address="02:00:00:00:00:01"
            ),
            resource=resource,
            device_id=device_id,
            health=health or Health(healthy=True),
            numa_node=numa_node,
            parent=parent,
            nodes=tuple(DeviceNode(container_path=node, host_path=node) for node in nodes),
            env=env or {},
            witness=Witness(
                inodes={path: (self.sysfs / path).stat().st_ino},
                links={f"{path}/driver": "../../bus/auxiliary/drivers/mlx5_core.sf"},
                numbers={f"{path}/dev": f"231:{minor}"},
            ),
        )
        self.records.write(record.uid, record)
        return record

    def plug(self, device_id: str, number: str) -> None:
        folder = self.sysfs / "devices" / device_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dev").write_text(f"{number}\n")
        if not (folder / "driver").is_symlink():
            (folder / "driver").symlink_to("../../bus/auxiliary/drivers/mlx5_core.sf")

    def replug(self, device_id: str) -> None:
        folder = self.sysfs / "devices" / device_id
        number = (folder / "dev").read_text().strip()
        self._held.append(os.open(folder, os.O_RDONLY))
        self.unplug(device_id)
        self.plug(device_id, number)

    def unplug(self, device_id: str) -> None:
        folder = self.sysfs / "devices" / device_id
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()

    def change(self, record: Record, **changes: Any) -> Record:
        changed = msgspec.structs.replace(record, **changes)
        self.records.write(changed.uid, changed)
        return changed

    def names(self, *names: str) -> None:
        self.resources.write("resources", ResourceNames(names=names))

    def promised(self) -> dict[str, LedgerEntry]:
        return self.ledger.read_all().items

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)


class Node:
    """Ties the parts together; `plugin()` runs the real plugin in this process.

    The kubelet is called, unless it is one of a later day that is not: then its plugin watcher finds the plugin.
    """

    def __init__(self, root: Path, *, called: bool = True) -> None:
        self.root = root
        self.agent = Agent(root)
        self.kubelet: KubeletLike = Kubelet(root, chance=random.Random(7), watcher_pause=0.02, called=called)
        self.sockets = root / ("device-plugins" if called else "plugins_registry")
        (root / "boot_id").write_text(f"{BOOT}\n")
        self._serial = itertools.count(1)
        self._plugins: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self._kubelet_runs = False

    def settings(self, **changes: Any) -> Settings:
        settings = Settings(
            records=self.root / "devices",
            ledger=self.root / "allocations",
            state=self.root / "state",
            sysfs=self.root / "sys",
            boot_id=self.root / "boot_id",
            kubelet_root=self.root,
            kubelet_folder=self.root / "device-plugins",
            coalesce=0.02,
            stream_wait=0.5,
            resend_wanted=0.1,
            resend_held=0.3,
        )
        return dataclasses.replace(settings, **changes)

    async def start_kubelet(self) -> None:
        self._kubelet_runs = True
        await self.kubelet.start()

    async def start_plugin(self, **changes: Any) -> None:
        stop = asyncio.Event()
        self._plugins.append((stop, asyncio.create_task(main.run(self.settings(**changes), stop))))

    async def stop_plugin(self) -> None:
        stop, task = self._plugins.pop()
        stop.set()
        await asyncio.wait_for(task, 5)

    async def stop(self) -> None:
        while self._plugins:
            await self.stop_plugin()
        if self._kubelet_runs:
            await self.kubelet.stop()
        self.agent.close()

    async def allocatable(
        self, count: int, *, of: int | None = None, resource: str = RESOURCE, within: float = 30.0
    ) -> None:
        """Wait until the kubelet counts `count` healthy devices, of `of` in all."""
        whole = count if of is None else of

        def reached() -> bool:
            counted = (self.kubelet.allocatable().get(resource), self.kubelet.capacity().get(resource))
            return counted == (count, whole)

        try:
            await self.kubelet.until(reached, timeout=within)
        except TimeoutError:
            pytest.fail(
                f"allocatable {self.kubelet.allocatable()} of {self.kubelet.capacity()}, not {count} of {whole}"
            )

    def pod(self, count: int = 1, *, resource: str = RESOURCE) -> Pod:
        serial = next(self._serial)
        return Pod(f"pod-{serial}", "default", f"pod-{serial}", (Container("app", {resource: count}),))

    async def ask_pod_resources(self) -> None:
        """Do what the agent does every ten seconds while anything is allocated: the kubelet then forgets ended pods."""
        async with grpc.aio.insecure_channel(f"unix:{self.root / 'pod-resources' / 'kubelet.sock'}") as channel:
            await PodResourcesListerStub(channel).List(ListPodResourcesRequest())

    async def run(self, count: int = 1, *, resource: str = RESOURCE) -> tuple[Pod, Running]:
        pod = self.pod(count, resource=resource)
        assert await self.kubelet.admit(pod) is None
        return pod, await self.kubelet.start_container(pod.uid, "app")


@pytest.fixture
async def node(root: Path) -> AsyncIterator[Node]:
    node = Node(root)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(node.stop)
        yield node
