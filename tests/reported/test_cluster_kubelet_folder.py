"""The kubelet's folder is made anew, and what a program sees of it is the one before, where nothing stands any more.

A pod has the folder by a bind mount. A descriptor that is held open shows the same: the path `/proc/self/fd/N` leads
to the folder that it was opened on, whatever has its name by now.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.deviceplugin.conftest import RESOURCE, Node

from rig.scrape import ANYWHERE, Scraper
from rig.waiting import eventually
from subfunction.errors import CheckpointUnreadable
from subfunction.kubelet import checkpoint
from subfunction_deviceplugin import main

ID = "mlx5_core.sf.4"
LONGEST = 3.0
LOOKED_AGAIN = 1.0
"""Seconds after which the plugin has looked at what it was rung for: it does so within a tenth of that."""


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Show a folder as a pod has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_a_kubelet_that_has_written_nothing_yet_has_given_nothing(tmp_path: Path) -> None:
    with mounted(tmp_path) as seen:
        assert checkpoint.read_checkpoint(seen / checkpoint.CHECKPOINT) == ()


@pytest.mark.xfail(
    strict=True,
    raises=pytest.fail.Exception,
    reason="issue H: the checkpoint of a folder that is no more reads as a kubelet's that has given nothing",
)
def test_what_a_folder_that_is_no_more_says_is_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "device-plugins"
    folder.mkdir()
    with mounted(folder) as seen:
        folder.rmdir()
        folder.mkdir()
        with pytest.raises(CheckpointUnreadable):
            checkpoint.read_checkpoint(seen / checkpoint.CHECKPOINT)


class SaidReady(Exception):
    """The plugin serves a kubelet's folder that it cannot see, and says that all is well."""


class Plugin:
    """A device plugin that has the kubelet's folder by a mount, on a node where a pod runs with its one device."""

    def __init__(self, node: Node, seen: Path) -> None:
        self.node = node
        self._seen = seen
        self._stop = asyncio.Event()

    async def start(self) -> None:
        settings = self.node.settings(kubelet_folder=self._seen, listen=ANYWHERE)
        self._task = asyncio.create_task(main.run(settings, self._stop))
        await self.node.allocatable(1)
        await self.node.run()
        await eventually(lambda: self.node.agent.promised()["uid-a"].seen_in_checkpoint, "the pod was seen")

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.wait([self._task])

    @property
    def ended(self) -> bool:
        return self._task.done()

    def ended_or_registered(self) -> bool:
        return self.ended or self.node.kubelet.allocatable().get(RESOURCE) == 1

    async def replace_folder(self) -> None:
        """Do what `rm -rf device-plugins; systemctl restart kubelet` does; the checkpoint is put back."""
        folder = self.node.kubelet.folder
        account = (folder / checkpoint.CHECKPOINT).read_bytes()
        await self.node.kubelet.stop()
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / checkpoint.CHECKPOINT).write_bytes(account)
        await self.node.kubelet.restart()


@contextlib.asynccontextmanager
async def running(root: Path) -> AsyncIterator[Plugin]:
    node = Node(root)
    node.agent.device("a", ID)
    await node.start_kubelet()
    with mounted(node.kubelet.folder) as seen:
        made = Plugin(node, seen)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
            await node.stop()


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: a promise ends since the kubelet's dead folder names no holder, while its pod runs",
)
async def test_what_a_running_pod_has_stays_promised(root: Path) -> None:
    async with running(root) as device_plugin:
        await device_plugin.replace_folder()
        await asyncio.sleep(LOOKED_AGAIN)
        assert set(device_plugin.node.agent.promised()) == {"uid-a"}


@pytest.mark.xfail(
    strict=True,
    raises=SaidReady,
    reason="issue H: a plugin that sees a folder which is no more registers by another way and says that it is ready",
)
async def test_the_plugin_ends_or_is_not_ready(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running(root) as device_plugin:
        scraper = await asyncio.to_thread(Scraper.of, caplog.records)
        assert scraper.get("/readyz").status == 200
        await device_plugin.replace_folder()
        with contextlib.suppress(TimeoutError):
            await device_plugin.node.kubelet.until(device_plugin.ended_or_registered, timeout=LONGEST)
        if not device_plugin.ended and scraper.get("/readyz").status == 200:
            raise SaidReady
