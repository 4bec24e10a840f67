"""Record what a kernel answers and announces: `python tests/core/record_replies.py NAME [kernel]`.

Without `kernel` it is a simulated one. On the real kernel it makes number 88 on the first parent and leaves it; that of
the VM, with the real mlx5 driver in switchdev mode, is recorded from `tests/vm` by

    python -m harness shell 'cd /src && /venv/bin/python tests/core/record_replies.py linux-6.12 kernel &&
        tar -C tests/core/replies -c linux-6.12 | base64' | base64 -d | tar -C ../core/replies -x
"""

import contextlib
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.contract.instruments import WholeDevlink
from tests.core.recordings import FOLDER, QUESTIONS, Answers, Scene, write

from subfunction.errors import KernelBusy, SubFunctionError
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.bus.auxiliary import AuxiliaryDevice
from subfunction.kernel.bus.vdpa import Vdpa, VdpaSettings
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.netlink.transport import KernelTransport, NetlinkProtocol, Socket, Transport
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.sysfs import Sysfs, SysfsTree
from subfunction.kernel.uapi import DEVLINK_FAMILY, DEVLINK_GROUP
from subfunction.kernel.uapi.link import RTNLGRP_LINK
from subfunction.kernel.uapi.netlink import UEVENT_KERNEL_GROUP
from subfunction.kernel.uplink import find_uplink
from subfunction_simulator.kernel import SimulatedKernel

DEADLINE = 20.0


@dataclasses.dataclass(slots=True)
class Listener:
    """A socket that remembers what it received, by request."""

    socket: Socket
    heard: list[list[bytes]]

    def send(self, datagram: bytes) -> None:
        self.heard.append([])
        self.socket.send(datagram)

    def receive(self, timeout: float | None) -> bytes:
        datagram = self.socket.receive(timeout)
        self.heard[-1].append(datagram)
        return datagram

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


@dataclasses.dataclass(slots=True)
class Overheard:
    """A way to a kernel that remembers its answers."""

    way: Transport
    heard: list[list[bytes]] = dataclasses.field(default_factory=list)

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return Listener(self.way.connect(protocol), self.heard)

    def subscribe(self, group: int, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return self.way.subscribe(group, protocol)

    @property
    def answers(self) -> Answers:
        return tuple(tuple(datagrams) for datagrams in self.heard)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(look)
        time.sleep(0.01)


def made(netlink: Netlink, sysfs: Sysfs) -> Scene:
    """Bring up number 88 with everything."""
    devlink = Devlink(netlink)
    parent = next(handle for handle in WholeDevlink(netlink).instances() if handle.bus == "pci")
    physical = find_uplink(devlink, sysfs, parent)
    assert physical is not None
    pf = physical.port_number or 0
    port = devlink.create_port(parent, pf=pf, number=88)
    devlink.set_function(parent, port.index, FunctionSettings(mac=Mac.parse("02:00:00:00:88:88"), max_io_eqs=4))
    devlink.set_rate(parent, port.index, share=125_000, maximum=12_500_000)
    devlink.set_active(parent, port.index, active=True)
    until(lambda: (attached := instance_of(devlink.port(parent, port.index))) is not None and bool(attached))
    instance = instance_of(devlink.port(parent, port.index))
    assert instance is not None
    for name in ("enable_roce", "enable_eth", "enable_rdma", "enable_vnet"):
        devlink.set_parameter(instance, name, value=True)
    devlink.reload(instance)
    Vdpa(netlink).add("sf000000000088", instance, VdpaSettings(mac=Mac.parse("02:00:00:00:88:88"), mtu=1500))
    device = AuxiliaryDevice.named(sysfs, instance.device)
    assert device is not None
    return Scene(
        parent=str(parent),
        pf=pf,
        uplink=str(physical.handle),
        index=port.index,
        instance=str(instance),
        ethernet=str(device.instances(sysfs)[-1]),
        ifindex=port.ifindex or 0,
    )


def instance_of(port: Port | None) -> Handle | None:
    function = port.function if port else None
    return function.instance if function and function.attached else None


def record(way: Transport, sysfs: Sysfs, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Netlink(way)) as netlink:
        config = netlink.family(DEVLINK_FAMILY).groups[DEVLINK_GROUP]
        groups = {
            "devlink-events": way.subscribe(config),
            "link-events": way.subscribe(RTNLGRP_LINK, NetlinkProtocol.ROUTE),
            "uevents": way.subscribe(UEVENT_KERNEL_GROUP, NetlinkProtocol.UEVENT),
        }
        scene = made(netlink, sysfs)
    for name, socket in groups.items():
        write(folder, name, tuple((datagram,) for datagram in received(socket)))
        socket.close()
    (folder / "scene.json").write_text(json.dumps(dataclasses.asdict(scene), indent=2) + "\n", encoding="ascii")
    for name, question in QUESTIONS.items():
        overheard = Overheard(way)
        with contextlib.closing(Netlink(overheard)) as netlink, contextlib.suppress(SubFunctionError):
            question(netlink, scene)
        write(folder, name, overheard.answers)


def received(socket: Socket) -> list[bytes]:
    datagrams = []
    with contextlib.suppress(KernelBusy, BlockingIOError):
        while True:
            datagrams.append(socket.receive(0))
    return datagrams


def main() -> None:
    name, *where = sys.argv[1:]
    if where == ["kernel"]:
        record(KernelTransport(), SysfsTree(), FOLDER / name)
        return
    with tempfile.TemporaryDirectory() as root:
        kernel = SimulatedKernel(Path(root))
        record(kernel.transport(), kernel.sysfs(), FOLDER / name)


if __name__ == "__main__":
    main()
