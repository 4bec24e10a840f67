"""The other personality: what ice does otherwise than mlx5. Its words are those of the driver's source, Linux 6.12."""

import errno
from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.faults import Operation
from harness.machine import Machine
from harness.sfsim import AUX, Sfsim

pytestmark = pytest.mark.ground("sfsim ice")

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
SECOND = "pci/0000:05:00.1"
MAC = "00:00:00:00:88:88"


@pytest.fixture
def ice(machine: Machine) -> Iterator[Sfsim]:
    with loaded(machine, switchdev=1, personality="ice") as sfsim:
        yield sfsim


def make_room(ice: Sfsim, number: int) -> str:
    """Add a port that is in no other one's way: it was active once."""
    handle = ice.add(CARD, number)
    for state in ("active", "inactive"):
        ice.set(handle, "state", state)
    return handle


def activate(ice: Sfsim, number: int = 88) -> tuple[str, str]:
    """Add and activate; nothing is waited for."""
    handle = ice.add(CARD, number)
    ice.set(handle, "hw_addr", MAC, "state", "active")
    (nested,) = ice.port(handle)["function"]["nested_devlink"]
    return handle, str(nested).removeprefix("auxiliary/")


def test_the_driver_and_its_devices_are_called_ice(ice: Sfsim) -> None:
    assert ice.devlink("dev", "info", CARD)["info"][CARD]["driver"] == "ice"
    _, device = activate(ice)
    assert device.startswith("ice.sf.")
    assert ice.machine.run(f"readlink {AUX}/{device}/driver").stdout.endswith("/drivers/ice.sf\n")
    assert ice.machine.run(f"ls {AUX}/{device}").stdout.split() == ["driver", "power", "subsystem", "uevent"]


def test_a_new_port_has_a_random_address_and_neither_roce_nor_queues(ice: Sfsim) -> None:
    functions = [ice.port(make_room(ice, number))["function"] for number in (1, 2)]
    assert all(set(function) == {"hw_addr", "state", "opstate"} for function in functions)
    addresses = {function["hw_addr"] for function in functions}
    assert len(addresses) == 2
    assert "00:00:00:00:00:00" not in addresses


def test_activation_and_deactivation_are_done_when_they_are_answered(ice: Sfsim) -> None:
    handle = ice.add(CARD, 88)
    for _ in range(3):
        ice.set(handle, "state", "active")
        assert ice.port(handle)["function"]["opstate"] == "attached"
        ice.set(handle, "state", "inactive")
        assert ice.port(handle)["function"]["opstate"] == "detached"
        assert ice.machine.run(f"ls {AUX}").stdout == ""


def test_a_slow_card_makes_the_answer_late(ice: Sfsim) -> None:
    ice.delay(PCI, attach_ms=700)
    handle = ice.add(CARD, 88)
    activating = ice.machine.spawn(["devlink", "port", "function", "set", handle, "state", "active"], name="activate")
    assert activating.alive()
    activating.wait()
    assert ice.port(handle)["function"]["opstate"] == "attached"


def test_a_deleted_number_is_free_at_once(ice: Sfsim) -> None:
    handle, _ = activate(ice)
    ice.delete(handle)
    assert ice.machine.run(f"ls {AUX}").stdout == ""
    activate(ice)


def test_the_netdev_is_the_pfs_and_the_virtual_port_tells_whose_it_is(ice: Sfsim) -> None:
    handle, device = activate(ice)
    (virtual,) = ice.ports("virtual")
    assert virtual.startswith(f"auxiliary/{device}/")
    name = ice.port(virtual)["netdev"]
    assert ice.machine.run(f"readlink -f /sys/class/net/{name}/device").stdout.endswith(f"/{PCI}\n")
    assert ice.machine.run(f"cat /sys/class/net/{name}/address").stdout == f"{MAC}\n"
    representor = ice.port(handle)["netdev"]
    assert ice.machine.run(f"cat /sys/class/net/{representor}/phys_port_name").stdout == "pf0sf88\n"


def test_frames_pass_between_a_sub_function_and_its_representor(ice: Sfsim) -> None:
    handle, _ = activate(ice)
    (virtual,) = ice.ports("virtual").values()
    representor = ice.port(handle)["netdev"]
    ice.machine.run(
        f"set -e; ip netns add pod; ip link set {virtual['netdev']} netns pod name pod0\n"
        "ip netns exec pod ip address add 192.0.2.2/24 dev pod0; ip netns exec pod ip link set pod0 up\n"
        f"ip address add 192.0.2.1/24 dev {representor}; ip link set {representor} up\n"
        "ping -c 1 -W 5 192.0.2.2; ip netns del pod"
    )


def test_it_has_no_parameters_no_rdma_no_vdpa_no_rates_and_no_resources(ice: Sfsim) -> None:
    handle, device = activate(ice)
    assert ice.machine.run("rdma link; vdpa mgmtdev show; devlink port function rate show").stdout == ""
    assert "net" not in ice.machine.run(f"devlink dev param show auxiliary/{device}", check=False).stdout
    assert "No such device" in ice.refusal(f"devlink port function rate set {handle} tx_max 10mbit")
    assert "Operation not supported" in ice.refusal(f"devlink dev reload auxiliary/{device}")
    assert "Operation not supported" in ice.refusal(f"devlink port function set {handle} roce disable")
    assert "max_local_SFs" not in ice.machine.run(f"devlink resource show {CARD}", check=False).stdout


def test_a_number_cannot_be_left_to_the_driver(ice: Sfsim) -> None:
    said = ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0")
    assert "Invalid argument" in said
    assert "ice:" not in said


def test_beside_a_port_that_was_never_active_another_is_announced_and_refused(ice: Sfsim) -> None:
    handle = ice.add(CARD, 88)
    said = ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 89")
    assert "Error: ice: Failed to attach SF to eswitch" in said
    assert "Device or resource busy" in said
    assert list(ice.ports("pcisf")) == [handle]
    ice.set(handle, "state", "active")
    ice.add(CARD, 89)


def test_an_uplink_in_a_bridge_keeps_the_first_port_from_being_made(ice: Sfsim) -> None:
    (uplink,) = [port["netdev"] for name, port in ice.ports("physical").items() if name.startswith(f"{CARD}/")]
    ice.machine.run(f"ip link add br0 type bridge; ip link set {uplink} master br0")
    said = ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: ice: Failed to attach SF to eswitch" in said
    assert "Invalid argument" in said
    ice.machine.run(f"ip link set {uplink} nomaster; ip link del br0")
    ice.add(CARD, 88)


def test_a_change_of_mode_is_told_as_a_warning_and_leaves_the_ports(ice: Sfsim) -> None:
    handle, _ = activate(ice)
    for mode in ("legacy", "switchdev"):
        said = ice.machine.run(f"devlink dev eswitch set {CARD} mode {mode} 2>&1").stdout
        assert f"ice: Changed eswitch mode to {mode}" in said
        assert ice.port(handle)["function"]["opstate"] == "attached"


def test_a_function_that_switches_is_not_reloaded(ice: Sfsim) -> None:
    assert "Error: ice: Go to legacy mode before doing reinit" in ice.refusal(f"devlink dev reload {CARD}")
    ice.machine.run(f"devlink dev eswitch set {CARD} mode legacy; devlink dev reload {CARD}")


def test_a_functions_instance_is_nested_in_the_cards(ice: Sfsim) -> None:
    _, device = activate(ice)
    assert f"auxiliary/{device}" in ice.machine.run(f"devlink dev show {CARD}").stdout


def test_a_sub_functions_netdev_takes_1500_bytes_and_no_address(ice: Sfsim) -> None:
    handle, _ = activate(ice)
    (virtual,) = ice.ports("virtual").values()
    representor = ice.port(handle)["netdev"]
    for netdev, limit in ((virtual["netdev"], 1500), (representor, 9702)):
        ice.machine.run(f"ip link set {netdev} mtu {limit}")
        assert "mtu greater than device maximum" in ice.refusal(f"ip link set {netdev} mtu {limit + 1}")
        assert "Operation not supported" in ice.refusal(f"ip link set {netdev} address 02:00:00:00:00:01")


def test_a_wrong_request_is_told_why(ice: Sfsim) -> None:
    for words, text, code in (
        (f"{CARD} flavour pcisf pfnum 1 sfnum 1", "Incorrect pfnum supplied", "Invalid argument"),
        (f"{CARD} flavour pcisf pfnum 0 sfnum 1 controller 0", "Setting controller is not supported", "not supported"),
        (f"{CARD}/7 flavour pcisf pfnum 0 sfnum 1", "Driver does not support user defined port index", "not supported"),
        (f"{CARD} flavour pcipf pfnum 0", "Flavour other than pcisf is not supported", "not supported"),
    ):
        said = ice.refusal(f"devlink port add {words}")
        assert f"Error: ice: {text}" in said
        assert code in said


def test_in_legacy_mode_no_number_can_be_added(machine: Machine) -> None:
    with loaded(machine, personality="ice") as ice:
        said = ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Error: ice: SF ports are only supported in eswitch switchdev mode" in said


def test_a_number_can_be_taken_once(ice: Sfsim) -> None:
    ice.add(CARD, 88)
    said = ice.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: ice: Subfunction with given sfnum already exists" in said
    assert "Device or resource busy" in said


def test_an_address_is_changed_only_while_detached(ice: Sfsim) -> None:
    handle, _ = activate(ice)
    said = ice.refusal(f"devlink port function set {handle} hw_addr 00:00:00:00:99:99")
    assert "Error: ice: Ethernet address can be change only in detached state" in said
    assert "Device or resource busy" in said
    ice.set(
        handle,
        "state",
        "inactive",
    )
    ice.set(handle, "hw_addr", "00:00:00:00:99:99")
    assert ice.port(handle)["function"]["hw_addr"] == "00:00:00:00:99:99"


def test_an_unbound_driver_leaves_the_port_active_and_detached(ice: Sfsim) -> None:
    handle, device = activate(ice)
    ice.machine.run(f"echo {device} > /sys/bus/auxiliary/drivers/ice.sf/unbind")
    function = ice.port(handle)["function"]
    assert (function["state"], function["opstate"]) == ("active", "detached")
    ice.machine.run(f"echo {device} > /sys/bus/auxiliary/drivers/ice.sf/bind")
    assert ice.port(handle)["function"]["opstate"] == "attached"


def test_injected_failures_speak_its_name(ice: Sfsim) -> None:
    handle = make_room(ice, 7)
    steps: tuple[tuple[Operation, str], ...] = (
        ("new", f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 8"),
        ("set_mac", f"devlink port function set {handle} hw_addr 00:00:00:00:00:02"),
        ("activate", f"devlink port function set {handle} state active"),
        ("deactivate", f"devlink port function set {handle} state inactive"),
        ("del", f"devlink port del {handle}"),
    )
    for operation, command in steps:
        ice.fail_next(PCI, operation, errno.EIO)
        assert "Error: ice: injected fault" in ice.refusal(command)
        ice.machine.run(command)


def test_the_pf_goes_with_everything_and_comes_back(ice: Sfsim) -> None:
    before = ice.listing()
    activate(ice)
    ice.add(SECOND, 88, pf=1)
    ice.machine.run("cd /sys/bus/pci/drivers/ice; for f in 0 1; do echo 0000:05:00.$f > unbind; done")
    assert ice.ports("pcisf") == {}
    ice.machine.run("cd /sys/bus/pci/drivers/ice; for f in 0 1; do echo 0000:05:00.$f > bind; done")
    assert len(ice.listing().splitlines()) == len(before.splitlines())
