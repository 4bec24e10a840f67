"""What uses a sub-function of the real mlx5 driver: children of its auxiliary device, each with its own driver."""

import pytest

from harness.firmware import Opcode, Status
from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
ALL = ("enable_roce", "enable_eth", "enable_rdma", "enable_vnet")


def drivers(mlx5: Mlx5, device: str) -> dict[str, str]:
    """Of each child of a sub-function, by its kind, the driver it is bound to."""
    shown = mlx5.machine.run(
        f"cd {AUX}/{device}; for child in mlx5_core.*; do echo $child $(readlink $child/driver); done", check=False
    ).stdout
    lines = (line.split() for line in shown.splitlines() if "*" not in line)
    return {line[0].split(".")[1]: line[1].rpartition("/")[2] if line[1:] else "" for line in lines}


def auxiliary(mlx5: Mlx5) -> set[str]:
    return set(mlx5.machine.run(f"ls {AUX}").stdout.split())


def test_each_parameter_makes_one_child_with_the_number_of_its_sub_function(mlx5: Mlx5) -> None:
    own = auxiliary(mlx5)
    _, device = mlx5.attach(CARD, 88)
    assert drivers(mlx5, device) == {}
    mlx5.enable(device, *ALL)
    assert drivers(mlx5, device) == {"eth": "mlx5_core.eth", "rdma": "mlx5_ib.rdma", "vnet": "mlx5_vdpa.vnet"}
    number = device.rpartition(".")[2]
    assert auxiliary(mlx5) - own == {f"mlx5_core.{kind}.{number}" for kind in ("eth", "rdma", "sf", "vnet")}
    mlx5.disable(device, "enable_eth", "enable_rdma")
    assert drivers(mlx5, device) == {"vnet": "mlx5_vdpa.vnet"}


def test_the_physical_functions_have_auxiliary_devices_of_their_own(mlx5: Mlx5) -> None:
    own = auxiliary(mlx5)
    assert {name.split(".")[1] for name in own} == {"eth", "eth-rep", "rdma-rep"}
    assert len(own) == 3 * len(mlx5.addresses)
    folders = mlx5.machine.run(f"cd {AUX}; for name in *; do readlink -f $name; done").stdout.split()
    assert {folder.split("/")[-2] for folder in folders} == set(mlx5.addresses)


def test_the_physical_port_is_on_an_instance_of_the_pfs_ethernet_child(mlx5: Mlx5) -> None:
    physical = mlx5.ports("physical")
    owners = {mlx5.machine.run(f"readlink -f {AUX}/{name.split('/')[1]}").stdout.split("/")[-2] for name in physical}
    assert all(name.startswith("auxiliary/mlx5_core.eth.") for name in physical)
    assert owners == set(mlx5.addresses)
    nested = mlx5.devlink("dev", "show", CARD)["dev"][CARD]["nested_devlink"]
    assert any(name.startswith(f"{next(iter(nested))}/") for name in physical)


def test_the_physical_port_goes_with_the_pfs_ethernet(mlx5: Mlx5) -> None:
    mlx5.machine.run(f"devlink dev param set {CARD} name enable_eth value false cmode driverinit")
    mlx5.machine.run(f"devlink dev reload {CARD}", timeout=60)
    assert len(mlx5.ports("physical")) == len(mlx5.addresses) - 1
    mlx5.machine.run(f"devlink dev param set {CARD} name enable_eth value true cmode driverinit")
    mlx5.machine.run(f"devlink dev reload {CARD}", timeout=60)
    assert len(mlx5.ports("physical")) == len(mlx5.addresses)


def test_netdev_and_verbs_hang_under_the_sub_function_not_under_the_child(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth", "enable_rdma")
    number = device.rpartition(".")[2]
    assert {"net", "infiniband"} <= set(mlx5.machine.run(f"ls {AUX}/{device}").stdout.split())
    assert not {"net", "infiniband"} & set(mlx5.machine.run(f"ls {AUX}/mlx5_core.eth.{number}").stdout.split())


def test_the_virtual_port_is_on_an_instance_of_the_ethernet_child(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    child = device.replace(".sf.", ".eth.")
    (handle,) = mlx5.ports("virtual")
    assert handle.startswith(f"auxiliary/{child}/")
    assert f"auxiliary/{child}" in mlx5.machine.run(f"devlink dev show auxiliary/{device}").stdout
    (name,) = mlx5.machine.run(f"ls {AUX}/{device}/net").stdout.split()
    assert mlx5.ports("virtual")[handle]["netdev"] == name


def test_a_child_can_be_unbound_and_bound_again_by_hand(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, *ALL)
    child = device.replace(".sf.", ".eth.")
    driver = "/sys/bus/auxiliary/drivers/mlx5_core.eth"
    (verbs,) = mlx5.machine.run(f"ls {AUX}/{device}/infiniband").stdout.split()
    mlx5.machine.run(f"echo {child} > {driver}/unbind")
    assert mlx5.ports("virtual") == {}
    links = f"rdma link | grep '^link {verbs}/'"
    assert "netdev" not in mlx5.machine.run(links).stdout
    mlx5.machine.run(f"echo {child} > {driver}/bind")
    (name,) = mlx5.machine.run(f"ls {AUX}/{device}/net").stdout.split()
    until(lambda: mlx5.machine.run(links).stdout, lambda said: f"netdev {name}" in said)


def test_without_mlx5_vdpa_the_child_is_there_and_has_no_driver(mlx5: Mlx5) -> None:
    mlx5.unload("mlx5_vdpa")
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_vnet")
    assert drivers(mlx5, device) == {"vnet": ""}
    assert mlx5.vdpa.management() == {}
    assert mlx5.machine.run("ls -d /sys/bus/auxiliary/drivers/mlx5_vdpa.vnet", check=False).code != 0
    mlx5.load("mlx5_vdpa")
    assert drivers(mlx5, device) == {"vnet": "mlx5_vdpa.vnet"}
    assert list(mlx5.vdpa.management()) == [f"auxiliary/{device}"]


def test_without_mlx5_ib_there_is_no_rdma_device_until_it_is_loaded(mlx5: Mlx5) -> None:
    mlx5.unload("mlx5_ib")
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_roce", "enable_rdma")
    assert drivers(mlx5, device) == {"rdma": ""}
    assert mlx5.machine.run(f"ls {AUX}/{device}/infiniband", check=False).code != 0
    mlx5.load("mlx5_ib")
    assert drivers(mlx5, device) == {"rdma": "mlx5_ib.rdma"}
    assert "protocol roce" in mlx5.machine.run(f"rdma dev show $(ls {AUX}/{device}/infiniband)").stdout
    mlx5.reset("legacy")


def test_mlx5_ib_loaded_in_switchdev_mode_lets_no_port_be_added_until_the_mode_is_set_anew(mlx5: Mlx5) -> None:
    """It gives the uplink an RDMA device only when the mode is set, and each new port's belongs to that one."""
    mlx5.unload("mlx5_ib")
    mlx5.load("mlx5_ib")
    said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert said == "kernel answers: Invalid argument\n"
    mlx5.reset("legacy")
    mlx5.reset("switchdev")
    mlx5.add(CARD, 88)


@pytest.mark.parametrize(("opcode", "kind"), [("ALLOC_TRANSPORT_DOMAIN", "eth"), ("ALLOC_XRCD", "rdma")])
def test_a_child_whose_driver_fails_is_there_without_it_and_the_reload_succeeds(
    mlx5: Mlx5, opcode: Opcode, kind: str
) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.faults(PCI).fail_next(opcode, Status.BAD_SYSTEM_STATE, owner=88)
    mlx5.enable(device, *ALL)
    bound = {"eth": "mlx5_core.eth", "rdma": "mlx5_ib.rdma", "vnet": "mlx5_vdpa.vnet"}
    assert drivers(mlx5, device) == {**bound, kind: ""}
    mlx5.enable(device)
    assert drivers(mlx5, device) == bound


def test_deactivation_takes_the_children_along(mlx5: Mlx5) -> None:
    own = auxiliary(mlx5)
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, *ALL)
    mlx5.set(handle, "state", "inactive")
    until(lambda: auxiliary(mlx5), lambda names: names == own)
    assert mlx5.vdpa.management() == {}
