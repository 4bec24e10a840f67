"""What a sub-function is used by: children of its auxiliary device, each bound by a driver of its own."""

import errno

from conftest import loaded
from harness.faults import Operation
from harness.machine import Machine
from harness.sfsim import AUX, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"


def drivers(sfsim: Sfsim, device: str) -> dict[str, str]:
    """Of each child of a sub-function, by its kind, the driver it is bound to."""
    shown = sfsim.machine.run(
        f"cd {AUX}/{device}; for child in mlx5_core.*; do echo $child $(readlink $child/driver); done", check=False
    ).stdout
    lines = (line.split() for line in shown.splitlines() if "*" not in line)
    return {line[0].split(".")[1]: line[1].rpartition("/")[2] if line[1:] else "" for line in lines}


def test_each_parameter_makes_one_child_with_the_number_of_its_sub_function(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    assert drivers(switched, device) == {}
    switched.enable(device, "enable_eth", "enable_rdma", "enable_vnet")
    assert drivers(switched, device) == {"eth": "mlx5_core.eth", "rdma": "mlx5_ib.rdma", "vnet": "mlx5_vdpa.vnet"}
    number = device.rpartition(".")[2]
    assert switched.machine.run(f"ls {AUX}").stdout.split() == [
        f"mlx5_core.{kind}.{number}" for kind in ("eth", "rdma", "sf", "vnet")
    ]
    switched.disable(device, "enable_eth", "enable_rdma")
    assert drivers(switched, device) == {"vnet": "mlx5_vdpa.vnet"}


def test_netdev_and_verbs_hang_under_the_sub_function_not_under_the_child(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth", "enable_rdma")
    number = device.rpartition(".")[2]
    assert {"net", "infiniband"} <= set(switched.machine.run(f"ls {AUX}/{device}").stdout.split())
    assert not {"net", "infiniband"} & set(switched.machine.run(f"ls {AUX}/mlx5_core.eth.{number}").stdout.split())


def test_the_virtual_port_is_on_an_instance_of_the_ethernet_child(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    child = device.replace(".sf.", ".eth.")
    (handle,) = switched.ports("virtual")
    assert handle.startswith(f"auxiliary/{child}/")
    assert f"auxiliary/{child}" in switched.machine.run(f"devlink dev show auxiliary/{device}").stdout
    (name,) = switched.machine.run(f"ls {AUX}/{device}/net").stdout.split()
    assert switched.ports("virtual")[handle]["netdev"] == name


def test_on_an_older_kernel_the_virtual_port_is_on_the_sub_functions_instance(sfsim: Sfsim) -> None:
    sfsim.load(switchdev=1, eth_instance=0)
    _, device = sfsim.attach(CARD, 88)
    sfsim.enable(device, "enable_eth")
    (handle,) = sfsim.ports("virtual")
    assert handle.startswith(f"auxiliary/{device}/")


def test_a_child_can_be_unbound_and_bound_again_by_hand(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth", "enable_rdma")
    child = device.replace(".sf.", ".eth.")
    driver = "/sys/bus/auxiliary/drivers/mlx5_core.eth"
    switched.machine.run(f"echo {child} > {driver}/unbind")
    assert switched.ports("virtual") == {}
    assert "netdev" not in switched.machine.run("rdma link").stdout
    switched.machine.run(f"echo {child} > {driver}/bind")
    (name,) = switched.machine.run(f"ls {AUX}/{device}/net").stdout.split()
    assert f"netdev {name}" in switched.machine.run("rdma link").stdout


def test_without_mlx5_vdpa_the_child_is_there_and_has_no_driver(machine: Machine) -> None:
    with loaded(machine, switchdev=1, no_vnet=1) as sfsim:
        _, device = sfsim.attach(CARD, 88)
        sfsim.enable(device, "enable_vnet")
        assert drivers(sfsim, device) == {"vnet": ""}
        assert sfsim.vdpa.management() == {}
        assert machine.run("ls -d /sys/bus/auxiliary/drivers/mlx5_vdpa.vnet", check=False).code != 0


def test_a_child_whose_driver_fails_is_there_without_it_and_the_reload_succeeds(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    kinds: tuple[Operation, ...] = ("eth", "rdma", "vnet")
    for kind in kinds:
        switched.fail_next(PCI, kind, errno.EIO)
    switched.enable(device, "enable_eth", "enable_rdma", "enable_vnet")
    assert drivers(switched, device) == {"eth": "", "rdma": "", "vnet": ""}
    switched.enable(device)
    assert "" not in drivers(switched, device).values()


def test_a_heavy_sub_function_comes_up_with_all_three(sfsim: Sfsim) -> None:
    sfsim.load(switchdev=1, light=0)
    _, device = sfsim.attach(CARD, 88)
    assert set(drivers(sfsim, device)) == {"eth", "rdma", "vnet"}
    assert list(sfsim.vdpa.management()) == [f"auxiliary/{device}"]


def test_deactivation_takes_the_children_along(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth", "enable_rdma", "enable_vnet")
    switched.set(handle, "state", "inactive")
    until(lambda: switched.machine.run(f"ls {AUX}").stdout, lambda names: names == "")
    assert switched.vdpa.management() == {}
