"""A sub-function's life on the real mlx5 driver, as iproute2's devlink and sysfs show it."""

from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
MAC = "00:00:00:00:88:88"
GIDS = "cat /sys/class/infiniband/{}/ports/1/gids/* 2>/dev/null | grep -vc '^0000:0000:0000:0000:0000:0000:0000:0000$'"


def parameters(mlx5: Mlx5, device: str) -> dict[str, bool | int | str]:
    shown = mlx5.devlink("dev", "param", "show", f"auxiliary/{device}")["param"][f"auxiliary/{device}"]
    return {entry["name"]: entry["values"][0]["value"] for entry in shown}


def ib_device(mlx5: Mlx5, device: str) -> str:
    (name,) = mlx5.machine.run(f"ls {AUX}/{device}/infiniband").stdout.split()
    return name


def test_a_new_port_is_inactive_and_detached(mlx5: Mlx5) -> None:
    mlx5.rebind(PCI)
    mlx5.reset()
    port = mlx5.port(mlx5.add(CARD, 88))
    assert (port["flavour"], port["controller"], port["pfnum"], port["sfnum"]) == ("pcisf", 0, 0, 88)
    assert port["function"] == {
        "hw_addr": "00:00:00:00:00:00", "state": "inactive", "opstate": "detached", "roce": "enable",
        "max_io_eqs": 60,
    }  # fmt: skip


def test_activation_lowers_the_event_queues_to_eight_unless_they_were_set(mlx5: Mlx5) -> None:
    default, chosen = mlx5.add(CARD, 88), mlx5.add(CARD, 89)
    mlx5.set(chosen, "max_io_eqs", "4")
    for handle in (default, chosen):
        mlx5.set(handle, "state", "active")
        mlx5.wait(handle, "attached")
    assert [mlx5.port(handle)["function"]["max_io_eqs"] for handle in (default, chosen)] == [8, 4]


def test_a_re_used_slot_shows_the_address_of_its_last_owner(mlx5: Mlx5) -> None:
    first = mlx5.add(CARD, 88)
    mlx5.set(first, "hw_addr", MAC)
    mlx5.delete(first)
    again = mlx5.add(CARD, 99)
    assert again == first
    assert mlx5.port(again)["function"]["hw_addr"] == MAC
    mlx5.delete(again)
    mlx5.machine.run(f"devlink dev eswitch set {CARD} mode legacy; devlink dev eswitch set {CARD} mode switchdev")
    assert mlx5.port(mlx5.add(CARD, 7))["function"]["hw_addr"] == MAC
    mlx5.set(first, "hw_addr", "00:00:00:00:00:00")
    mlx5.delete(first)
    assert mlx5.port(mlx5.add(CARD, 88))["function"]["hw_addr"] == "00:00:00:00:00:00"


def test_a_reload_of_the_pf_keeps_addresses_and_a_rebind_forgets_them(mlx5: Mlx5) -> None:
    mlx5.set(mlx5.add(CARD, 88), "hw_addr", MAC)
    mlx5.machine.run(f"devlink dev reload {CARD}", timeout=60)
    mlx5.reset()
    assert mlx5.port(mlx5.add(CARD, 88))["function"]["hw_addr"] == MAC
    mlx5.rebind(PCI)
    mlx5.reset()
    assert mlx5.port(mlx5.add(CARD, 88))["function"]["hw_addr"] == "00:00:00:00:00:00"


def test_a_light_sub_function_has_nothing_until_enabled_and_reloaded(mlx5: Mlx5) -> None:
    machine = mlx5.machine
    handle, device = mlx5.attach(CARD, 88)
    assert machine.run(f"cat {AUX}/{device}/sfnum").stdout == "88\n"
    assert machine.run(f"readlink {AUX}/{device}/driver").stdout.strip().endswith("/drivers/mlx5_core.sf")
    assert machine.run(f"ls {AUX}/{device}").stdout.split() == ["driver", "power", "sfnum", "subsystem", "uevent"]
    assert parameters(mlx5, device) == {
        "enable_roce": False, "enable_eth": False, "enable_rdma": False, "enable_vnet": False,
        "io_eq_size": 1024, "event_eq_size": 4096, "fdb_large_groups": 15, "hairpin_num_queues": 2,
        "hairpin_queue_size": 1,
    }  # fmt: skip

    mlx5.enable(device, "enable_roce", "enable_eth", "enable_rdma")

    (name,) = machine.run(f"ls {AUX}/{device}/net").stdout.split()
    assert machine.run(f"cat {AUX}/{device}/net/{name}/address").stdout == f"{MAC}\n"
    (virtual,) = mlx5.ports("virtual").values()
    assert virtual["netdev"] == name
    (verbs,) = machine.run(f"ls {AUX}/{device}/infiniband_verbs").stdout.split()
    assert machine.run(f"stat -c %F /dev/infiniband/{verbs}").stdout == "character special file\n"
    assert f"netdev {name}" in machine.run("rdma link").stdout

    representor = mlx5.port(handle)["netdev"]
    assert machine.run(f"cat /sys/class/net/{representor}/phys_port_name").stdout == "pf0sf88\n"
    assert machine.run(f"readlink -f /sys/class/net/{representor}/device").stdout.endswith(f"/{PCI}\n")


def test_rdma_without_ethernet(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_rdma")
    names = mlx5.machine.run(f"ls {AUX}/{device}").stdout.split()
    assert "infiniband_verbs" in names
    assert "net" not in names


def test_rdma_has_roce_only_where_that_is_enabled_too(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth", "enable_rdma")
    name = ib_device(mlx5, device)
    assert "protocol" not in mlx5.machine.run(f"rdma dev show {name}").stdout
    assert mlx5.machine.run(GIDS.format(name), check=False).stdout == "0\n"
    mlx5.enable(device, "enable_roce")
    name = ib_device(mlx5, device)
    assert "protocol roce" in mlx5.machine.run(f"rdma dev show {name}").stdout
    assert int(mlx5.machine.run(GIDS.format(name)).stdout) > 0


def test_a_function_without_roce_has_rdma_and_refuses_roce(mlx5: Mlx5) -> None:
    handle = mlx5.add(CARD, 88)
    mlx5.set(handle, "roce", "disable")
    mlx5.set(handle, "state", "active")
    device = mlx5.nested(handle)
    words = f"devlink dev param set auxiliary/{device} name enable_roce value true cmode driverinit"
    said = mlx5.refusal(words)
    assert "Device doesn't support RoCE" in said
    assert "Operation not supported" in said
    mlx5.enable(device, "enable_rdma")
    assert "protocol" not in mlx5.machine.run(f"rdma dev show {ib_device(mlx5, device)}").stdout


def test_enabled_parameters_last_until_the_function_is_deactivated(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    before = parameters(mlx5, device)
    mlx5.enable(device, "enable_eth", "enable_roce")
    mlx5.enable(device)
    assert "net" in mlx5.machine.run(f"ls {AUX}/{device}").stdout.split()
    mlx5.set(handle, "state", "inactive")
    mlx5.wait(handle, "detached")
    mlx5.set(handle, "state", "active")
    device = mlx5.nested(handle)
    assert "net" not in mlx5.machine.run(f"ls {AUX}/{device}").stdout.split()
    assert parameters(mlx5, device) == before


def test_deletion_leaves_nothing(mlx5: Mlx5) -> None:
    before = mlx5.listing()
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_roce", "enable_eth", "enable_rdma", "enable_vnet")
    assert mlx5.listing() != before
    mlx5.set(handle, "state", "inactive")
    mlx5.wait(handle, "detached")
    mlx5.delete(handle)
    assert until(mlx5.listing, lambda now: now == before) == before


def test_an_open_verbs_device_does_not_hold_up_the_removal(mlx5: Mlx5) -> None:
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_rdma")
    (verbs,) = mlx5.machine.run(f"ls {AUX}/{device}/infiniband_verbs").stdout.split()
    mlx5.machine.run(
        f"exec 9<>/dev/infiniband/{verbs}; devlink port function set {handle} state inactive; "
        f"timeout 10 sh -c 'while [ -e {AUX}/{device} ]; do sleep 0.05; done'"
    )


def test_without_an_address_the_netdev_draws_one(mlx5: Mlx5) -> None:
    mlx5.rebind(PCI)
    mlx5.reset()
    handle = mlx5.add(CARD, 88)
    mlx5.set(handle, "state", "active")
    device = mlx5.nested(handle)
    mlx5.enable(device, "enable_eth")
    (address,) = mlx5.machine.run(f"cat {AUX}/{device}/net/*/address").stdout.split()
    assert address != "00:00:00:00:00:00"
    assert mlx5.port(handle)["function"]["hw_addr"] == "00:00:00:00:00:00"
