"""The simulated kernel as a process: behind its socket and its folders."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from tests.contract.instruments import WholeDevlink

from subfunction.errors import FamilyMissing, KernelBusy
from subfunction.kernel.link import Links, LinkSettings
from subfunction.kernel.monitor.devlink import Event, Overrun, monitor_devlink
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import Socket, UnixTransport
from subfunction.kernel.sysfs import SysfsTree
from subfunction_simulator.kernel import SimulatedKernel, Timing
from subfunction_simulator.kernel.server import SOCKET, Settings, running, serve
from subfunction_simulator.kernel.topology import TWO_CARDS

FIRST, SECOND = (parent.handle for parent in TWO_CARDS)


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[SimulatedKernel]:
    kernel = SimulatedKernel(tmp_path, timing=Timing(attach=0.005, detach=0.005, in_seconds=True))
    async with running(kernel):
        yield kernel


def asking(kernel: SimulatedKernel, *, timeout: float = 5) -> Netlink:
    return Netlink(UnixTransport(kernel.root / SOCKET), timeout=timeout)


async def until(good: Callable[[], object]) -> None:
    """Look again until it is good, in a thread: the kernel is served by this loop."""
    deadline = asyncio.get_running_loop().time() + 10
    while not await asyncio.to_thread(good):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.002)


def answered(netlink: Netlink) -> bool:
    """Ask with little patience: a busy machine may need more, and is asked again."""
    with contextlib.suppress(KernelBusy):
        return len(WholeDevlink(netlink).ports(FIRST)) == 1
    return False


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_parent_that_hangs_keeps_its_caller_and_nobody_else(kernel: SimulatedKernel) -> None:
    stuck, free = asking(kernel, timeout=0.1), asking(kernel)
    with contextlib.closing(stuck), contextlib.closing(free):
        for handle in (FIRST, SECOND):
            await asyncio.to_thread(partial(WholeDevlink(free).create_port, handle, pf=0, number=88))
        with kernel.faults.hang(FIRST) as hang:
            with pytest.raises(KernelBusy, match=r"no answer within 0\.1 s"):
                await asyncio.to_thread(WholeDevlink(stuck).ports, FIRST)
            assert await asyncio.to_thread(hang.wait_for_victim, 5)
            assert len(await asyncio.to_thread(WholeDevlink(free).ports, SECOND)) == 1
        await until(lambda: answered(stuck))


async def test_what_is_written_to_sysfs_acts(kernel: SimulatedKernel) -> None:
    netlink, sysfs = asking(kernel), SysfsTree(kernel.root / "sys")
    port = await asyncio.to_thread(WholeDevlink(netlink).create_port, FIRST, pf=0, number=88)
    netdev = Netdev.named(sysfs, str(port.netdev))
    assert netdev is not None
    sysfs.write(f"{netdev.path}/flags", "0x1003")  # broadcast, multicast, up
    await until(lambda: sysfs.read(f"{netdev.path}/operstate") == "up")
    netlink.close()


async def test_a_function_attaches_and_can_be_unbound_without_anybody_asking(kernel: SimulatedKernel) -> None:
    netlink, sysfs = asking(kernel), SysfsTree(kernel.root / "sys")
    devlink = WholeDevlink(netlink)
    port = await asyncio.to_thread(devlink.create_port, FIRST, pf=0, number=88)
    await asyncio.to_thread(lambda: devlink.set_active(FIRST, port.index, active=True))
    driver = "bus/auxiliary/devices/mlx5_core.sf.2/driver"
    await until(lambda: sysfs.target(driver))
    sysfs.write("bus/auxiliary/drivers/mlx5_core.sf/unbind", "mlx5_core.sf.2")
    await until(lambda: sysfs.target(driver) is None)
    netlink.close()


async def test_whoever_reads_an_attribute_while_it_changes_reads_it_whole(kernel: SimulatedKernel) -> None:
    name = TWO_CARDS[0].netdev
    with (kernel.root / "sys/class/net" / name / "operstate").open("rb", buffering=0) as file:
        begun = file.read(2)
        kernel.set_netdev_up(name, up=True)
        assert begun + file.read() == b"down\n"
    assert SysfsTree(kernel.root / "sys").read(f"class/net/{name}/operstate") == "up"


async def test_what_stood_in_a_file_before_a_request_is_not_applied_after_it(kernel: SimulatedKernel) -> None:
    sysfs, name = SysfsTree(kernel.root / "sys"), TWO_CARDS[0].netdev
    netdev = kernel.hardware.netdevs.find(name)
    netlink = asking(kernel)

    def race() -> None:
        for number in range(100):
            up = bool(number % 2)
            sysfs.write(f"class/net/{name}/flags", "0x1002" if up else "0x1003")
            Links(netlink).set(netdev.ifindex, LinkSettings(up=up))
            # Whatever the file's watcher was about to do, it has done when the next thing that was written acts.
            sysfs.write(f"class/net/{name}/mtu", str(2000 + number))
            deadline = time.monotonic() + 10
            while netdev.mtu != 2000 + number:
                assert time.monotonic() < deadline
            assert netdev.up is up

    await asyncio.to_thread(race)
    netlink.close()


async def test_a_renamed_netdev_is_heard_by_its_new_name(kernel: SimulatedKernel) -> None:
    sysfs, name = SysfsTree(kernel.root / "sys"), TWO_CARDS[0].netdev
    netdev = kernel.hardware.netdevs.find(name)
    for new, mtu in (("uplink", 2000), (name, 3000)):
        kernel.rename_netdev(netdev.name, new)
        sysfs.write(f"class/net/{new}/mtu", str(mtu))
        await until(partial(lambda mtu: netdev.mtu == mtu, mtu))


async def test_an_overrun_listener_is_cut_off_and_listens_anew(kernel: SimulatedKernel) -> None:
    netlink, events = asking(kernel), asyncio.Queue[Event]()

    async def listen() -> None:
        async for event in monitor_devlink(netlink, reopen_after=0):
            events.put_nowait(event)

    task = asyncio.create_task(listen())
    async with asyncio.timeout(10):
        assert isinstance(await events.get(), Overrun)
        kernel.overrun()
        assert isinstance(await events.get(), Overrun)
        assert await events.get() == Overrun("the monitor was opened")
        kernel.crash_driver(FIRST)
        assert not isinstance(await events.get(), Overrun)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    netlink.close()


async def test_a_listener_that_never_reads_hinders_nobody(kernel: SimulatedKernel) -> None:
    listener: Socket = await asyncio.to_thread(UnixTransport(kernel.root / SOCKET).subscribe, 5)
    netlink = asking(kernel)
    devlink = WholeDevlink(netlink)

    def work() -> int:
        for number in range(1, 101):
            devlink.delete_port(FIRST, devlink.create_port(FIRST, pf=0, number=number).index)
        return len(devlink.all_ports())

    assert await asyncio.wait_for(asyncio.to_thread(work), 30) == 2
    listener.close()
    netlink.close()


async def test_a_second_kernel_in_the_same_place_is_refused_and_the_first_goes_on(kernel: SimulatedKernel) -> None:
    with pytest.raises(FileExistsError, match="another simulated kernel listens"):
        async with running(kernel):
            pass
    netlink = asking(kernel)
    assert len(await asyncio.to_thread(WholeDevlink(netlink).instances)) == 4
    netlink.close()


async def test_the_end_leaves_no_socket_no_thread_and_a_clear_message(tmp_path: Path) -> None:
    threads, open_before = set(threading.enumerate()), descriptors()
    task = asyncio.create_task(serve(Settings(root=tmp_path)))
    await until((tmp_path / SOCKET).exists)
    netlink = Netlink(UnixTransport(tmp_path / SOCKET))
    await asyncio.to_thread(WholeDevlink(netlink).instances)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(KernelBusy):
        await asyncio.to_thread(WholeDevlink(netlink).instances)
    with pytest.raises(FamilyMissing, match="no simulated kernel listens"):
        await asyncio.to_thread(WholeDevlink(netlink).instances)
    left = [thread.name for thread in set(threading.enumerate()) - threads if not thread.name.startswith("asyncio_")]
    assert left == []
    assert descriptors() == open_before


async def test_a_socket_that_a_killed_kernel_left_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(str(tmp_path / SOCKET))
    async with running(SimulatedKernel(tmp_path)) as path:
        netlink = Netlink(UnixTransport(path))
        assert len(await asyncio.to_thread(WholeDevlink(netlink).instances)) == 4
        netlink.close()
