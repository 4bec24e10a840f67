"""Record what a kernel answers and announces: `python tests/core/record_replies.py NAME [kernel]`.

Without `kernel` it is a simulated one. On the real kernel (the VM with sfsim in switchdev mode) it makes number 88 on
the first parent and leaves it.
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

from tests.core.recordings import FOLDER, QUESTIONS, Answers, Scene, write

from subfunction.errors import KernelBusy, SubFunctionError
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.genetlink import Netlink
from subfunction.kernel.port import FunctionSettings, Port
from subfunction.kernel.transport import KernelTransport, NetlinkProtocol, Socket, Transport
from subfunction.kernel.uapi import DEVLINK_FAMILY, DEVLINK_GROUP, PortFlavour
from subfunction.kernel.uapi.link import RTNLGRP_LINK
from subfunction.kernel.uapi.netlink import UEVENT_KERNEL_GROUP
from subfunction.kernel.vdpa import Vdpa, VdpaSettings
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


def made(netlink: Netlink) -> Scene:
    """Bring up number 88 with everything."""
    devlink = Devlink(netlink)
    parent = next(handle for handle in devlink.instances() if handle.bus == "pci")
    pf = next(port.port_number for port in devlink.ports(parent) if port.flavour is PortFlavour.PHYSICAL) or 0
    port = devlink.new_port(parent, pf=pf, number=88)
    devlink.set_function(parent, port.index, FunctionSettings(mac=Mac.parse("02:00:00:00:88:88"), max_io_eqs=4))
    devlink.set_rate(parent, port.index, share=125_000, maximum=12_500_000)
    devlink.set_active(parent, port.index, active=True)
    until(lambda: (attached := instance_of(devlink.port(parent, port.index))) is not None and bool(attached))
    instance = instance_of(devlink.port(parent, port.index))
    assert instance is not None
    for name in ("enable_eth", "enable_rdma", "enable_vnet"):
        devlink.set_parameter(instance, name, value=True)
    devlink.reload(instance)
    Vdpa(netlink).add("sf000000000088", instance, VdpaSettings(mac=Mac.parse("02:00:00:00:88:88"), mtu=1500))
    return Scene(str(parent), pf, port.index, str(instance), port.ifindex or 0, "sf000000000088")


def instance_of(port: Port | None) -> Handle | None:
    function = port.function if port else None
    return function.instance if function and function.attached else None


def record(way: Transport, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(Netlink(way)) as netlink:
        config = netlink.family(DEVLINK_FAMILY).groups[DEVLINK_GROUP]
        groups = {
            "devlink-events": way.subscribe(config),
            "link-events": way.subscribe(RTNLGRP_LINK, NetlinkProtocol.ROUTE),
            "uevents": way.subscribe(UEVENT_KERNEL_GROUP, NetlinkProtocol.UEVENT),
        }
        scene = made(netlink)
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
        record(KernelTransport(), FOLDER / name)
        return
    with tempfile.TemporaryDirectory() as root:
        record(SimulatedKernel(Path(root)).transport(), FOLDER / name)


if __name__ == "__main__":
    main()
