"""One kernel, three ways to stand behind the two ports: simulated in this process, simulated behind a socket, or real.

`SUBFUNCTION_TEST_KERNEL=real` runs the same tests on the running kernel, which must have sub-function capable NICs (the
VM with sfsim). There iproute2's `devlink` is the judge; of a simulated kernel it is the kernel's own state.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import Sysfs, SysfsTree
from subfunction.kernel.transport import KernelTransport, Transport, UnixTransport
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction_simulator.kernel import Parent, SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.server import running

KERNELS = ("real",) if os.environ.get("SUBFUNCTION_TEST_KERNEL") == "real" else ("in-process", "served")

T = TypeVar("T")


def until(look: Callable[[], T], good: Callable[[T], object], *, seconds: float = 20) -> T:
    """Look again until it is good: for what the kernel does not announce."""
    deadline, pause = time.monotonic() + seconds, 0.001
    while not good(seen := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; the last seen: {seen}")
        time.sleep(pause)
        pause = min(pause * 2, 0.1)
    return seen


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A port as the judge shows it."""

    name: str
    flavour: str
    netdev: str | None
    pf: int | None
    number: int | None
    mac: str | None
    state: str | None
    opstate: str | None


class Console(Protocol):
    """A root shell on the node: what it shows is the judge's word, and it does what our code never does."""

    def ports(self) -> set[Shown]:
        """Show every port (`devlink port show`)."""

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        """Change an e-switch mode (`devlink dev eswitch set`)."""

    def slow_detach(self, handle: Handle) -> None:
        """Let functions of this parent take half a second to detach, or a few requests."""

    def take_netdev(self, name: str) -> None:
        """Move a netdev to a network namespace."""

    def return_netdev(self, name: str) -> None:
        """Move it back."""


@dataclasses.dataclass(slots=True)
class Node:
    """A kernel to be tested, with at least two parents in switchdev mode; the last of all is `spare`."""

    netlink: Netlink
    sysfs: Sysfs
    console: Console
    parents: tuple[Handle, ...]

    @property
    def devlink(self) -> Devlink:
        """Devlink, by the socket of this test."""
        return Devlink(self.netlink)

    @property
    def parent(self) -> Handle:
        """The parent that a test uses when one is enough."""
        return self.parents[0]

    @property
    def spare(self) -> Handle:
        """A parent whose mode a test may change."""
        return self.parents[-1]

    def pf(self, handle: Handle) -> int:
        """Read what a parent's sub-functions name as their pf."""
        ports = self.devlink.ports(handle)
        number = next(port.port_number for port in ports if port.flavour is PortFlavour.PHYSICAL)
        assert number is not None
        return number

    def new(self, number: int, *, parent: Handle | None = None, settings: FunctionSettings | None = None) -> Port:
        """Create a port, and set its function."""
        handle = parent or self.parent
        port = self.devlink.new_port(handle, pf=self.pf(handle), number=number)
        if settings is not None:
            self.devlink.set_function(handle, port.index, settings)
        return port

    def seen(self, port: Port) -> Port:
        """Look at a port that is there."""
        found = self.devlink.port(port.handle, port.index)
        assert found is not None
        return found

    def attach(self, port: Port) -> Handle:
        """Activate a function, wait until its driver holds it, and give its instance."""
        self.devlink.set_active(port.handle, port.index, active=True)

        def ready(seen: Port) -> bool:
            return seen.function is not None and seen.function.attached and seen.function.instance is not None

        function = until(lambda: self.seen(port), ready).function
        assert function is not None
        assert function.instance is not None
        # The driver's link is made after its probe, which is what attaches.
        instance = function.instance
        until(lambda: self.sysfs.target(f"{instance.path}/driver"), bool)
        return instance

    def detach(self, port: Port) -> None:
        """Deactivate a function and wait until its driver has let go."""
        self.devlink.set_active(port.handle, port.index, active=False)
        until(lambda: self.seen(port).function, lambda function: function and not function.attached)

    def load(self, instance: Handle) -> None:
        """Bring up netdev and RDMA device of a function that came up light."""
        for name in ("enable_eth", "enable_rdma"):
            self.devlink.set_parameter(instance, name, value=True)
        self.devlink.reload(instance)

    def auxiliary(self) -> tuple[str, ...]:
        """List the sub-functions' devices, after a request: a simulated kernel's time may be counted in those."""
        self.devlink.instances()
        return tuple(name for name in self.sysfs.names("bus/auxiliary/devices") if ".sf." in name)

    def empty(self) -> None:
        """Delete every sub-function, and wait until nothing of them is left."""
        for port in self.devlink.ports():
            if port.is_sub_function:
                self.devlink.delete_port(port.handle, port.index)
        until(self.auxiliary, lambda names: not names)


class SimulatedConsole:
    """The state of a simulated kernel, and its ways to be changed."""

    def __init__(self, kernel: SimulatedKernel) -> None:
        self._kernel = kernel

    def ports(self) -> set[Shown]:
        return {
            Shown(
                name=f"{handle}/{port.index}",
                flavour=port.flavour.name.lower().replace("_", ""),
                netdev=port.netdev.name if port.netdev and port.netdev.namespace is None else None,
                pf=port.pf,
                number=port.sub_function.number if port.sub_function else None,
                mac=str(port.sub_function.mac) if port.sub_function else None,
                state=("active" if port.sub_function.active else "inactive") if port.sub_function else None,
                opstate=("attached" if port.sub_function.attached else "detached") if port.sub_function else None,
            )
            for handle, instance in self._kernel.machine.instances.items()
            for port in instance.ports.values()
        }

    def set_mode(self, handle: Handle, mode: EswitchMode) -> None:
        self._kernel.nic(handle).set_eswitch_mode(mode)

    def slow_detach(self, handle: Handle) -> None:
        assert handle in self._kernel.machine.instances  # the pace is that of all of them
        self._kernel.pace(detach=0.5 if self._kernel.timing.in_seconds else 8)

    def take_netdev(self, name: str) -> None:
        self._kernel.move_netdev(name)

    def return_netdev(self, name: str) -> None:
        assert self._kernel.namespace_ends() == [name]


class RealConsole:
    """The node's own shell."""

    _namespace = "contract"

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

    def slow_detach(self, handle: Handle) -> None:
        self.pace_detach(handle, milliseconds=500)

    @staticmethod
    def pace_detach(handle: Handle, *, milliseconds: int) -> None:
        path = Path(f"/sys/kernel/debug/sfsim/{handle.device}/detach_delay_ms")
        path.write_text(str(milliseconds), encoding="ascii")

    def take_netdev(self, name: str) -> None:
        _run("ip", "netns", "add", self._namespace)
        _run("ip", "link", "set", name, "netns", self._namespace)

    def return_netdev(self, name: str) -> None:
        _run("ip", "-n", self._namespace, "link", "set", name, "netns", "1")
        _run("ip", "netns", "del", self._namespace)


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(params=KERNELS)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with _KERNELS[request.param](tmp_path) as node:
        yield node


THREE_FUNCTIONS = Topology(
    parents=(
        Parent(bdf="0000:03:00.0", netdev="enp3s0f0np0", numa_node=0),
        Parent(bdf="0000:03:00.1", netdev="enp3s0f1np1", numa_node=0),
        Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
    )
)


@contextlib.contextmanager
def _in_process(root: Path) -> Iterator[Node]:
    kernel = SimulatedKernel(root, THREE_FUNCTIONS)
    with _simulated(kernel, kernel.transport(), kernel.sysfs()) as node:
        yield node


@contextlib.contextmanager
def _served(root: Path) -> Iterator[Node]:
    kernel = SimulatedKernel(root, THREE_FUNCTIONS, Timing(attach=0.01, detach=0.01, in_seconds=True))
    started, ended = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with running(kernel):
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(10)
        with _simulated(kernel, UnixTransport(root / "netlink.sock"), SysfsTree(root / "sys")) as node:
            yield node
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


@contextlib.contextmanager
def _simulated(kernel: SimulatedKernel, transport: Transport, sysfs: Sysfs) -> Iterator[Node]:
    parents = tuple(parent.handle for parent in kernel.topology.parents)
    with contextlib.closing(Netlink(transport)) as netlink:
        yield Node(netlink, sysfs, SimulatedConsole(kernel), parents)


@contextlib.contextmanager
def _real(_: Path) -> Iterator[Node]:
    console = RealConsole()
    with contextlib.closing(Netlink(KernelTransport())) as netlink:
        parents = tuple(handle for handle in Devlink(netlink).instances() if handle.bus == "pci")
        assert len(parents) >= 2, "the contract needs two PCI functions that can have sub-functions; is sfsim loaded?"
        node = Node(netlink, SysfsTree(), console, parents)
        node.empty()
        for handle in parents:
            console.set_mode(handle, EswitchMode.SWITCHDEV)
            console.pace_detach(handle, milliseconds=0)
        yield node
        node.empty()


_KERNELS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Node]]] = {
    "in-process": _in_process,
    "served": _served,
    "real": _real,
}


@pytest.fixture
def judge(node: Node) -> Callable[[], None]:
    """Compare what our code shows of every port with what the judge does."""

    def compare() -> None:
        ours = {
            Shown(
                name=f"{port.handle}/{port.index}",
                flavour=port.flavour.name.lower().replace("_", "") if port.flavour is not None else "",
                netdev=port.netdev,
                pf=port.pf,
                number=port.number,
                mac=str(port.function.mac) if port.function else None,
                state=("active" if port.function.active else "inactive") if port.function else None,
                opstate=("attached" if port.function.attached else "detached") if port.function else None,
            )
            for port in node.devlink.ports()
        }
        assert ours == node.console.ports()

    return compare
