"""The three ways to stand behind the ports: simulated in this process, simulated behind a socket, or real."""

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.contract.console import SimulatedConsole
from tests.contract.instruments import WholeDevlink
from tests.contract.kernels import Kernel
from tests.contract.node import Node
from tests.contract.real_console import RealConsole
from tests.contract.recorder import recorded

from subfunction.kernel.bus.pci import PciFunction
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import KernelTransport, Transport, UnixTransport
from subfunction.kernel.sysfs import Sysfs, SysfsTree
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import Parent, SimulatedKernel, Timing, Topology
from subfunction_simulator.kernel.server import running
from subfunction_simulator.kernel.topology import MediatedType


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
    with contextlib.closing(Netlink(recorded(transport))) as netlink:
        yield Node(netlink, sysfs, SimulatedConsole(kernel), parents, wanted.personality)


@contextlib.contextmanager
def _real(_: Path, wanted: Kernel) -> Iterator[Node]:
    console = RealConsole()
    with contextlib.closing(Netlink(recorded(KernelTransport()))) as netlink:
        functions = [PciFunction.at(SysfsTree(), handle) for handle in WholeDevlink(netlink).instances()]
        parents = tuple(sorted(one.handle for one in functions if one and one.handle.bus == "pci" and not one.virtual))
        assert len(parents) >= 2, (
            "the contract needs two PCI functions that can have sub-functions; is this machine's module loaded?"
        )
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


WAYS: dict[str, Callable[[Path, Kernel], contextlib.AbstractContextManager[Node]]] = {
    "in-process": _in_process,
    "served": _served,
    "real": _real,
}
