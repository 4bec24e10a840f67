"""A sub-function's life, as iproute2's devlink and sysfs show it."""

from harness.sfsim import AUX, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"


def test_a_new_port_is_inactive_and_detached(switched: Sfsim) -> None:
    handle = switched.add(CARD, 88)
    port = switched.port(handle)
    assert (port["flavour"], port["controller"], port["pfnum"], port["sfnum"]) == ("pcisf", 0, 0, 88)
    assert port["function"] == {
        "hw_addr": "00:00:00:00:00:00", "state": "inactive", "opstate": "detached", "roce": "enable",
        "max_io_eqs": 8,
    }  # fmt: skip


def test_a_light_sub_function_has_nothing_until_enabled_and_reloaded(switched: Sfsim) -> None:
    machine = switched.machine
    handle, device = switched.attach(CARD, 88)
    assert machine.run(f"cat {AUX}/{device}/sfnum").stdout == "88\n"
    assert machine.run(f"readlink {AUX}/{device}/driver").stdout.strip().endswith("/drivers/mlx5_core.sf")
    assert machine.run(f"ls {AUX}/{device}").stdout.split() == ["driver", "power", "sfnum", "subsystem", "uevent"]
    parameters = switched.devlink("dev", "param", "show", f"auxiliary/{device}")["param"][f"auxiliary/{device}"]
    assert {entry["name"]: entry["values"][0]["value"] for entry in parameters} == {
        "enable_eth": False,
        "enable_rdma": False,
        "enable_vnet": False,
    }

    switched.enable(device, "enable_eth", "enable_rdma")

    (name,) = machine.run(f"ls {AUX}/{device}/net").stdout.split()
    assert machine.run(f"cat {AUX}/{device}/net/{name}/address").stdout == "00:00:00:00:88:88\n"
    (virtual,) = switched.ports("virtual").values()
    assert virtual["netdev"] == name
    (verbs,) = machine.run(f"ls {AUX}/{device}/infiniband_verbs").stdout.split()
    assert machine.run(f"stat -c %F /dev/infiniband/{verbs}").stdout == "character special file\n"
    assert f"netdev {name}" in machine.run("rdma link").stdout

    representor = switched.port(handle)["netdev"]
    assert machine.run(f"cat /sys/class/net/{representor}/phys_port_name").stdout == "pf0sf88\n"
    assert machine.run(f"readlink -f /sys/class/net/{representor}/device").stdout.endswith(f"/{PCI}\n")


def test_a_heavy_sub_function_comes_up_whole(sfsim: Sfsim) -> None:
    sfsim.load(switchdev=1, light=0)
    _, device = sfsim.attach(CARD, 88)
    assert len(sfsim.machine.run(f"ls {AUX}/{device}/net {AUX}/{device}/infiniband_verbs").stdout.split()) == 4


def test_rdma_without_ethernet(switched: Sfsim) -> None:
    _, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_rdma")
    names = switched.machine.run(f"ls {AUX}/{device}").stdout.split()
    assert "infiniband_verbs" in names
    assert "net" not in names


def test_a_function_without_roce_has_no_rdma_to_enable(switched: Sfsim) -> None:
    handle = switched.add(CARD, 88)
    switched.set(handle, "roce", "disable")
    switched.set(handle, "state", "active")
    switched.wait(handle, "attached")
    said = switched.refusal(
        f"devlink dev param set auxiliary/$(ls {AUX}) name enable_rdma value true cmode driverinit",
    )
    assert "Operation not supported" in said


def test_enabled_parameters_last_until_the_function_is_deactivated(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    switched.enable(device)
    assert "net" in switched.machine.run(f"ls {AUX}/{device}").stdout.split()
    switched.set(handle, "state", "inactive")
    switched.wait(handle, "detached")
    switched.set(handle, "state", "active")
    switched.wait(handle, "attached")
    assert "net" not in switched.machine.run(f"ls {AUX}/*").stdout.split()


def test_frames_pass_between_a_sub_function_and_its_representor(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth")
    representor = switched.port(handle)["netdev"]
    switched.machine.run(
        f"set -e; ip netns add pod; ip link set $(ls {AUX}/{device}/net) netns pod name pod0\n"
        f"ip netns exec pod ip address add 192.0.2.2/24 dev pod0; ip netns exec pod ip link set pod0 up\n"
        f"ip address add 192.0.2.1/24 dev {representor}; ip link set {representor} up\n"
        "ping -c 1 -W 5 192.0.2.2"
    )
    (virtual,) = switched.ports("virtual").values()
    assert "netdev" not in virtual, "a netdev in a pod's namespace is not shown"
    switched.machine.run("ip netns del pod")


def test_deletion_leaves_nothing(switched: Sfsim) -> None:
    before = switched.listing()
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_eth", "enable_rdma")
    assert switched.listing() != before
    switched.set(handle, "state", "inactive")
    switched.wait(handle, "detached")
    switched.delete(handle)
    assert until(switched.listing, lambda now: now == before) == before


def test_an_open_verbs_device_does_not_hold_up_the_removal(switched: Sfsim) -> None:
    handle, device = switched.attach(CARD, 88)
    switched.enable(device, "enable_rdma")
    switched.machine.run(
        f"exec 9<>/dev/infiniband/uverbs0; devlink port function set {handle} state inactive; "
        f"timeout 5 sh -c 'while [ -e {AUX}/{device} ]; do sleep 0.05; done'"
    )
