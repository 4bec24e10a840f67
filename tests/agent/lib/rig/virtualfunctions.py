"""A virtual function of a world's parent, with what others do to it by tools of their own."""

from typing import Any, Final

from rig.world import PARENT, World
from subfunction.kernel.address import Mac
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.link import LinkSettings
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import Function, FunctionSettings, Port
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_simulator.kernel import Parent

EINVAL: Final = 22
FUNCTIONS: Final = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", virtual_functions=4)
OF_ICE: Final = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", driver="ice", virtual_functions=4)
ADDRESS: Final = FUNCTIONS.virtual_function(0)
VF: Final[dict[str, Any]] = {"flavour": "vfio", "vfio": {"virtualFunction": 0}}
THEIRS: Final = Mac.parse("00:11:22:33:44:55")


def function(world: World, index: int = 0) -> VirtualFunction:
    found = VirtualFunction.at(world.sysfs, PARENT, index)
    assert found is not None
    return found


def port(world: World) -> Port:
    return next(each for each in world.devlink.ports(PARENT) if each.vf == 0)


def shown(world: World) -> Function:
    found = port(world).function
    assert found is not None
    return found


def representor(world: World) -> Netdev:
    found = Netdev.named(world.sysfs, port(world).netdev or "")
    assert found is not None
    return found


def enslave(world: World, bridge: str) -> None:
    found = Netdev.named(world.sysfs, bridge)
    assert found is not None
    world.doors.links.set(representor(world).ifindex, LinkSettings(master=found.ifindex))


def given_to(world: World, driver: str, mac: Mac | None = None) -> None:
    """Let somebody else give the function away with their own tools."""
    if mac is not None:
        world.devlink.set_function(PARENT, port(world).index, FunctionSettings(mac=mac))
    world.sysfs.write(f"bus/pci/devices/{ADDRESS}/driver_override", driver)
    world.kernel.unbind_pci(ADDRESS)
    world.kernel.probe_pci(ADDRESS)


def netdev(world: World) -> Netdev:
    (found,) = Netdev.under(world.sysfs, function(world).path)
    return found


def assert_ready(world: World, result: ReconcileResult, name: str = "blue") -> None:
    assert result.error is None, result.error
    assert result.decision == Settled()
    assert world.offered(name)
