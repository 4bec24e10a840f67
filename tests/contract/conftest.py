"""One kernel, three ways to stand behind the ports: simulated in this process, simulated behind a socket, or real.

`SUBFUNCTION_TEST_KERNEL=real` runs the same tests on the running kernel, which must have sub-function capable NICs (the
VM with sfsim). There iproute2's `devlink` is the judge; of a simulated kernel it is the kernel's own state.

A test says what it `needs` of its machine, and runs on each machine that has that. Of real machines there is one at a
time; `SUBFUNCTION_TEST_MACHINE` says which (mlx5, ice or vf), and what it lacks is another machine's to show.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from subfunction.errors import Invalid, KernelError, Unsupported
from subfunction.kernel.address import Handle
from subfunction.kernel.auxiliary import AuxiliaryDevice
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.link import Links
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.pci import PciFunction
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import Sysfs, SysfsTree
from subfunction.kernel.transport import KernelTransport, Transport, UnixTransport
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction.kernel.vdpa import Vdpa
from subfunction_simulator.kernel import Parent, SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.server import running
from subfunction_simulator.kernel.topology import MediatedType

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Personality:
    """What differs between two drivers' sub-functions."""

    driver: str
    function_driver: str
    tells_number: bool
    """Whether the auxiliary device has an attribute `sfnum`."""
    caps: tuple[bool | None, int | None]
    """RoCE and event queues of a new function."""
    settings: FunctionSettings
    """What can be set beside the MAC."""
    address_unset: bool
    """Whether a new function has no address, or one at random."""
    taken: str
    legacy: str
    wrong_pf: tuple[type[KernelError], str]
    controller: str
    not_unicast: str


MLX5 = Personality(
    driver="mlx5_core",
    function_driver="mlx5_core.sf",
    tells_number=True,
    caps=(True, 8),
    settings=FunctionSettings(roce=False, max_io_eqs=4),
    address_unset=True,
    taken="SF already exist",
    legacy="SF ports are only supported in eswitch switchdev mode",
    wrong_pf=(Unsupported, "Invalid pfnum supplied"),
    controller="External controller is unsupported",
    not_unicast="Non-unicast hardware address unsupported",
)
ICE = Personality(
    driver="ice",
    function_driver="ice.sf",
    tells_number=False,
    caps=(None, None),
    settings=FunctionSettings(),
    address_unset=False,
    taken="Subfunction with given sfnum already exists",
    legacy="SF ports are only supported in eswitch switchdev mode",
    wrong_pf=(Invalid, "Incorrect pfnum supplied"),
    controller="Setting controller is not supported",
    not_unicast="Non-unicast hardware address unsupported",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to run tests on, and what it has."""

    way: str
    personality: Personality
    has: frozenset[str]

    def __str__(self) -> str:
        return f"{self.way}-{self.personality.driver}"


_MLX5_HAS = frozenset({"ports", "mlx5", "vdpa", "mediated"})
_ICE_HAS = frozenset({"ports", "ice"})
_VF_HAS = frozenset({"virtual-functions"})
# Behind a socket sysfs is a folder of files: what is written there is taken, and can neither be refused nor wait.
_ANSWERS = frozenset({"answers-writes"})
_REAL = {
    "mlx5": Kernel("real", MLX5, _MLX5_HAS | _ANSWERS),
    "ice": Kernel("real", ICE, _ICE_HAS | _ANSWERS),
    "vf": Kernel("real", MLX5, _VF_HAS | _ANSWERS),
}
KERNELS = (
    (_REAL[os.environ.get("SUBFUNCTION_TEST_MACHINE", "mlx5")],)
    if os.environ.get("SUBFUNCTION_TEST_KERNEL") == "real"
    else (
        Kernel("in-process", MLX5, _MLX5_HAS | _VF_HAS | _ANSWERS),
        Kernel("served", MLX5, _MLX5_HAS | _VF_HAS),
        Kernel("in-process", ICE, _ICE_HAS),
        Kernel("served", ICE, _ICE_HAS),
    )
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): runs on each kernel that has it; ports, where nothing is said")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "node" in metafunc.fixturenames:
        fitting = [kernel for kernel in KERNELS if _needs(metafunc.definition) <= kernel.has]
        metafunc.parametrize("node", fitting or [None], indirect=True, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another real machine will run."""
    elsewhere = [item for item in items if isinstance(item, pytest.Function) and _kernel_of(item, KERNELS[0]) is None]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _needs(definition: pytest.Item) -> frozenset[str]:
    marks = list(definition.iter_markers("needs"))
    return frozenset(what for mark in marks for what in mark.args) or frozenset({"ports"})


def _kernel_of(item: pytest.Function, default: Kernel) -> object:
    return item.callspec.params.get("node", default) if hasattr(item, "callspec") else default


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

    def bridge(self, name: str) -> None:
        """Make a bridge (`ip link add NAME type bridge`)."""

    def open(self, node: str) -> contextlib.AbstractContextManager[None]:
        """Hold a device node below `/dev` open."""

    def open_in_group(self, device: str, group: str) -> contextlib.AbstractContextManager[None]:
        """Hold a device of VFIO open, through the node of its group."""


@dataclasses.dataclass(slots=True)
class Node:
    """A kernel to be tested, with at least two parents in switchdev mode; the last of all is `spare`."""

    netlink: Netlink
    sysfs: Sysfs
    console: Console
    parents: tuple[Handle, ...]
    personality: Personality

    @property
    def vdpa(self) -> Vdpa:
        """vDPA, by the socket of this test."""
        return Vdpa(self.netlink)

    @property
    def links(self) -> Links:
        """The network links, by a socket of this test."""
        return Links(self.netlink)

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

    def load(self, instance: Handle, *names: str) -> None:
        """Bring up what a function that came up light is to have: its netdev and RDMA device, where nothing is said."""
        for name in names or ("enable_eth", "enable_rdma"):
            self.devlink.set_parameter(instance, name, value=True)
        self.devlink.reload(instance)

    def virtual_port(self, instance: Handle) -> Port | None:
        """Find the port of a function's netdev."""
        device = AuxiliaryDevice.named(self.sysfs, instance.device)
        assert device is not None
        ports = [port for handle in device.instances(self.sysfs) for port in self.devlink.ports(handle)]
        assert len(ports) <= 1
        return next(iter(ports), None)

    def path(self, handle: Handle) -> str:
        """Give the directory of an instance's device in sysfs, resolved."""
        path = self.sysfs.resolve(handle.path)
        assert path is not None
        return path

    def representor(self, port: Port) -> Netdev:
        """Look at the representor of a port."""
        netdev = Netdev.named(self.sysfs, str(port.netdev))
        assert netdev is not None
        return netdev

    def ifindex(self, name: str) -> int:
        """Give the number of a link."""
        netdev = Netdev.named(self.sysfs, name)
        assert netdev is not None
        return netdev.ifindex

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
                mac=str(function.mac) if function else None,
                state=("active" if port.sub_function.active else "inactive") if port.sub_function else None,
                opstate=("attached" if port.sub_function.attached else "detached") if port.sub_function else None,
            )
            for handle, instance in self._kernel.machine.instances.items()
            for port in instance.ports.values()
            for function in (port.sub_function or port.virtual,)
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

    def bridge(self, name: str) -> None:
        self._kernel.bridge(name)

    @contextlib.contextmanager
    def open(self, node: str) -> Iterator[None]:
        with self._kernel.hold_open(node):
            yield

    def open_in_group(self, device: str, group: str) -> contextlib.AbstractContextManager[None]:
        assert device
        return self.open(group)


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


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    kernel: Kernel = request.param
    with _WAYS[kernel.way](tmp_path, kernel) as node:
        yield node


def topology(kernel: Kernel) -> Topology:
    """Three functions on two cards; the first has what else the kernel has."""
    virtual_functions = 2 if "virtual-functions" in kernel.has else 0
    types = (MediatedType("mlx5_core-local", available=2),) if "mediated" in kernel.has else ()
    first, second, spare = (
        Parent(bdf="0000:03:00.0", netdev="enp3s0f0np0", numa_node=0),
        Parent(bdf="0000:03:00.1", netdev="enp3s0f1np1", numa_node=0),
        Parent(bdf="0000:82:00.0", netdev="enp130s0np0", numa_node=1, switch_id="b8599f0300b7e9f0"),
    )
    first = dataclasses.replace(first, virtual_functions=virtual_functions, mediated_types=types)
    return Topology(
        parents=tuple(
            dataclasses.replace(parent, driver=kernel.personality.driver) for parent in (first, second, spare)
        )
    )


@contextlib.contextmanager
def _in_process(root: Path, wanted: Kernel) -> Iterator[Node]:
    kernel = SimulatedKernel(root, topology(wanted))
    with _simulated(wanted, kernel, kernel.transport(), kernel.sysfs()) as node:
        yield node


@contextlib.contextmanager
def _served(root: Path, wanted: Kernel) -> Iterator[Node]:
    kernel = SimulatedKernel(root, topology(wanted), Timing(attach=0.01, detach=0.01, in_seconds=True))
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
        with _simulated(wanted, kernel, UnixTransport(root / "netlink.sock"), SysfsTree(root / "sys")) as node:
            yield node
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join()


@contextlib.contextmanager
def _simulated(wanted: Kernel, kernel: SimulatedKernel, transport: Transport, sysfs: Sysfs) -> Iterator[Node]:
    parents = tuple(parent.handle for parent in kernel.topology.parents)
    with contextlib.closing(Netlink(transport)) as netlink:
        yield Node(netlink, sysfs, SimulatedConsole(kernel), parents, wanted.personality)


@contextlib.contextmanager
def _real(_: Path, wanted: Kernel) -> Iterator[Node]:
    console = RealConsole()
    with contextlib.closing(Netlink(KernelTransport())) as netlink:
        functions = [PciFunction.at(SysfsTree(), handle) for handle in Devlink(netlink).instances()]
        parents = tuple(sorted(one.handle for one in functions if one and one.handle.bus == "pci" and not one.virtual))
        assert len(parents) >= 2, "the contract needs two PCI functions that can have sub-functions; is sfsim loaded?"
        if "virtual-functions" in wanted.has:
            parents = console.with_virtual_functions(parents)
        node = Node(netlink, SysfsTree(), console, parents, wanted.personality)
        node.empty()
        for handle in parents:
            console.set_mode(handle, EswitchMode.SWITCHDEV)
            console.pace_detach(handle, milliseconds=0)
        yield node
        node.empty()
        console.clean()


_WAYS: dict[str, Callable[[Path, Kernel], contextlib.AbstractContextManager[Node]]] = {
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
                state=("active" if port.function.active else "inactive")
                if port.function and port.is_sub_function
                else None,
                opstate=("attached" if port.function.attached else "detached")
                if port.function and port.is_sub_function
                else None,
            )
            for port in node.devlink.ports()
        }
        assert ours == node.console.ports()

    return compare
