"""One card answers strangely: the others of its node are seen, judged and used as if it were not there."""

import errno
from pathlib import Path

import pytest

from rig.survey import search, survey
from rig.world import OTHER_PARENT, PARENT, World
from subfunction.api.node import FlavourCapability
from subfunction.api.subfunction import Flavour
from subfunction.kernel.address import Handle
from subfunction.kernel.netlink.transport import Socket
from subfunction.kernel.uapi import Attribute, Command, NetlinkProtocol
from subfunction_operator.agent.execute.kernel import KernelClients
from subfunction_operator.agent.inventory.capabilities import capabilities
from subfunction_operator.agent.inventory.discovery import Discovery
from subfunction_simulator.kernel import SimulatedKernel
from subfunction_simulator.kernel.families.devlink import handle_of
from subfunction_simulator.kernel.inprocess import InProcess, Requester
from subfunction_simulator.kernel.netlink import wire
from subfunction_simulator.kernel.netlink.announce import DEVLINK_ID
from subfunction_simulator.kernel.netlink.wire import Refusal, Request

SWITCHDEV_INACTIVE = 2
"""An e-switch mode that Linux has since 6.19: as switchdev, and nothing passes yet."""


class Answers(Requester):
    """A socket on which one command about one card is answered by the test, all else by the simulated kernel."""

    def __init__(self, kernel: SimulatedKernel, card: Handle, command: Command, answer: Refusal | bytes) -> None:
        super().__init__(kernel, NetlinkProtocol.GENERIC)
        self._card, self._command, self._answer = card, command, answer

    def send(self, datagram: bytes) -> None:
        for request in wire.requests(datagram):
            if (request.kind, request.command) == (DEVLINK_ID, self._command) and self._is_meant(request):
                self._replies.extend(self._answered(request))
                return
        super().send(datagram)

    def _is_meant(self, request: Request) -> bool:
        return handle_of(request.attributes) == self._card

    def _answered(self, request: Request) -> list[bytes]:
        if isinstance(self._answer, bytes):
            return [wire.reply(request, self._answer), wire.acknowledgement(request)]
        return [(wire.end_dump if request.is_dump else wire.acknowledgement)(request, self._answer)]


class StrangeCard(InProcess):
    """The way to a kernel that gives one answer of its own, by the card and what it is asked."""

    def __init__(self, kernel: SimulatedKernel, card: Handle, command: Command, answer: Refusal | bytes) -> None:
        super().__init__(kernel)
        self._strange = kernel, card, command, answer

    def connect(self, protocol: NetlinkProtocol = NetlinkProtocol.GENERIC) -> Socket:
        return Answers(*self._strange) if protocol is NetlinkProtocol.GENERIC else super().connect(protocol)


def strange(root: Path, card: Handle, command: Command, answer: Refusal | bytes) -> World:
    world = World(root)
    world.doors = KernelClients.create(StrangeCard(world.kernel, card, command, answer))
    return world


def judged(world: World, card: Handle) -> FlavourCapability:
    """What the node says of native sub-functions on a card."""
    node = survey(Discovery(world.sysfs, world.records), world.devlink)
    (parent,) = (each for each in node.parents if each.function.handle == card)
    return next(each for each in capabilities(parent, node) if each.name is Flavour.MLX5)


REFUSALS = [
    pytest.param(command, number, id=f"{command.name}-{errno.errorcode[number]}")
    for command in (Command.GET, Command.ESWITCH_GET, Command.RESOURCE_DUMP, Command.PORT_GET)
    for number in (errno.EIO, errno.EPERM, errno.ENOLINK)
]


@pytest.mark.parametrize(("command", "number"), REFUSALS)
def test_a_node_with_a_card_that_refuses_shows_the_other_one(root: Path, command: Command, number: int) -> None:
    assert judged(strange(root, OTHER_PARENT, command, Refusal(number)), PARENT).possible


@pytest.mark.parametrize(("command", "number"), REFUSALS)
def test_a_selector_finds_a_card_beside_one_that_refuses(root: Path, command: Command, number: int) -> None:
    world = strange(root, OTHER_PARENT, command, Refusal(number))
    wanted = world.apply(parent={"selector": {"driver": "mlx5_core"}})
    assert search(wanted, world.devlink, world.sysfs) == PARENT


def test_a_card_that_is_named_is_used_beside_one_that_refuses(root: Path) -> None:
    world = strange(root, OTHER_PARENT, Command.ESWITCH_GET, Refusal(errno.EIO))
    world.apply()
    world.settle()
    assert world.offered()


@pytest.fixture
def without_resources(root: Path) -> World:
    """A node whose kernel registers no resources with devlink, as that of Linux 5.15."""
    return strange(root, PARENT, Command.RESOURCE_DUMP, Refusal(errno.EOPNOTSUPP))


def test_a_card_that_does_not_tell_its_room_makes_what_names_it(without_resources: World) -> None:
    without_resources.apply()
    without_resources.settle()
    assert without_resources.offered()


def test_a_card_that_does_not_tell_its_room_is_open_to_pools(without_resources: World) -> None:
    assert judged(without_resources, PARENT).possible


def test_a_card_in_a_mode_of_newer_kernels_is_not_said_to_have_no_e_switch(root: Path) -> None:
    handle = (wire.text(Attribute.BUS_NAME, PARENT.bus), wire.text(Attribute.DEV_NAME, PARENT.device))
    mode = wire.generic(Command.ESWITCH_GET, *handle, wire.u16(Attribute.ESWITCH_MODE, SWITCHDEV_INACTIVE))
    assert "no e-switch" not in (judged(strange(root, PARENT, Command.ESWITCH_GET, mode), PARENT).message or "")
