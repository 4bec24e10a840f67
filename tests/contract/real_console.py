"""The real node's own shell: iproute2, sysfs, and the driver's debugfs."""

import contextlib
import fcntl
import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.contract.console import Shown

from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode


class RealConsole:
    """The node's own shell."""

    _namespace = "contract"

    def __init__(self) -> None:
        self._bridges: list[str] = []

    def ports(self) -> set[Shown]:
        shown = json.loads(_run("devlink", "-j", "port", "show"))["port"]
        return {self._shown(name, port) for name, port in shown.items()}

    @staticmethod
    def _shown(name: str, port: dict[str, Any]) -> Shown:
        function = port.get("function", {})
        return Shown(
            name=name,
            flavour=port["flavour"],
            netdev=port.get("netdev"),
            pf=port.get("pfnum"),
            number=port.get("sfnum"),
            mac=function.get("hw_addr"),
            state=function.get("state"),
            opstate=function.get("opstate"),
        )

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        _run("devlink", "dev", "eswitch", "set", str(handle), "mode", mode.name.lower())

    def rebind(self, handle: Handle) -> None:
        driver = Path("/sys", handle.path, "driver").resolve()
        for action in ("unbind", "bind"):
            (driver / action).write_text(handle.device, encoding="ascii")

    def slow_detach(self, handle: Handle) -> None:
        self.pace_detach(handle, milliseconds=500)

    @staticmethod
    def pace_detach(handle: Handle, *, milliseconds: int) -> None:
        folders = (Path("/sys/kernel/debug", module, handle.device) for module in ("mlx5fw", "sfsim"))
        folder = next(folder for folder in folders if folder.exists())
        (folder / "detach_delay_ms").write_text(str(milliseconds), encoding="ascii")

    def take_netdev(self, name: str) -> None:
        _run("ip", "netns", "add", self._namespace)
        try:
            _run("ip", "link", "set", name, "netns", self._namespace)
        except subprocess.CalledProcessError as error:
            _run("ip", "netns", "del", self._namespace)
            raise OSError(error.stderr) from error

    def return_netdev(self, name: str) -> None:
        _run("ip", "-n", self._namespace, "link", "set", name, "netns", "1")
        _run("ip", "netns", "del", self._namespace)

    @staticmethod
    def with_virtual_functions(parents: tuple[Handle, ...]) -> tuple[Handle, ...]:
        """Put the parent that can have virtual functions first, with two of them."""
        counts = {handle: Path("/sys", handle.path, "sriov_numvfs") for handle in parents}
        able = next(handle for handle, count in counts.items() if count.exists())
        if counts[able].read_text(encoding="ascii").strip() == "0":
            counts[able].write_text("2", encoding="ascii")
        return (able, *(handle for handle in parents if handle != able))

    def bridge(self, name: str) -> None:
        _run("ip", "link", "add", name, "type", "bridge")
        self._bridges.append(name)

    def add_alternative_name(self, name: str, alternative: str) -> None:
        _run("ip", "link", "property", "add", "dev", name, "altname", alternative)

    def clean(self) -> None:
        while self._bridges:
            _run("ip", "link", "del", self._bridges.pop())

    @contextlib.contextmanager
    def open(self, node: str) -> Iterator[None]:
        with Path("/dev", node).open("r+b", buffering=0):
            yield

    @contextlib.contextmanager
    def open_in_group(self, device: str, group: str) -> Iterator[None]:
        # Numbers of linux/vfio.h; a container needs an IOMMU type before a device is given out.
        set_iommu, set_container, get_device, type1 = 0x3B66, 0x3B68, 0x3B6A, 1
        with (
            Path("/dev/vfio/vfio").open("r+b", buffering=0) as container,
            Path("/dev", group).open("r+b", buffering=0) as whole,
        ):
            fcntl.ioctl(whole, set_container, struct.pack("i", container.fileno()))
            fcntl.ioctl(container, set_iommu, type1)
            descriptor = fcntl.ioctl(whole, get_device, bytearray(device.encode() + b"\0"))
            try:
                yield
            finally:
                os.close(descriptor)


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
