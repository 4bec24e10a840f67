"""Physical functions under the real mlx5 driver: cards, NUMA nodes, capacity, rates, and what goes when they go."""

from harness.mlx5 import Mlx5
from harness.nic import AUX
from harness.wait import until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
SECOND = "pci/0000:05:00.1"
OTHER_CARD = "pci/0000:81:00.0"


def test_functions_of_a_card_share_its_switch_and_cards_do_not(mlx5: Mlx5) -> None:
    ports = [mlx5.add(CARD, 1), mlx5.add(SECOND, 1, pf=1), mlx5.add(OTHER_CARD, 1)]
    names = [mlx5.port(handle)["netdev"] for handle in ports]
    first, second, other = (mlx5.machine.run(f"cat /sys/class/net/{name}/phys_switch_id").stdout for name in names)
    assert first == second != other


def test_each_card_is_on_its_own_numa_node(mlx5: Mlx5) -> None:
    shown = mlx5.machine.run(
        "cd /sys/bus/pci/devices; cat 0000:05:00.0/numa_node 0000:05:00.1/numa_node 0000:81:00.0/numa_node"
    ).stdout
    assert shown.split() == ["0", "0", "1"]


def test_what_it_can_hold_and_who_drives_it(mlx5: Mlx5) -> None:
    for address in mlx5.addresses:
        card = f"pci/{address}"
        shown = mlx5.devlink("resource", "show", card)["resources"][card]
        assert {entry["name"]: entry["size"] for entry in shown} == {"max_local_SFs": 128, "max_external_SFs": 0}
        assert mlx5.devlink("dev", "info", card)["info"][card]["driver"] == "mlx5_core"


def test_going_back_to_legacy_mode_takes_every_sub_function_along(mlx5: Mlx5) -> None:
    mlx5.attach(CARD, 88)
    mlx5.add(CARD, 89)
    kept = mlx5.add(SECOND, 88, pf=1)
    mlx5.machine.run(f"devlink dev eswitch set {CARD} mode legacy", timeout=60)
    assert list(mlx5.ports("pcisf")) == [kept]
    until(mlx5.functions, lambda names: names == [])


def test_a_reload_takes_every_sub_function_along_and_leaves_legacy_mode(mlx5: Mlx5) -> None:
    mlx5.attach(CARD, 88)
    kept = mlx5.add(SECOND, 88, pf=1)
    mlx5.machine.run(f"devlink dev reload {CARD}", timeout=60)
    assert list(mlx5.ports("pcisf")) == [kept]
    until(mlx5.functions, lambda names: names == [])
    assert mlx5.devlink("dev", "eswitch", "show", CARD)["dev"][CARD]["mode"] == "legacy"


def test_unbinding_the_pf_takes_every_sub_function_along(mlx5: Mlx5) -> None:
    mlx5.attach(CARD, 88)
    mlx5.set(mlx5.add(CARD, 89), "state", "active")
    mlx5.unbind(PCI)
    assert mlx5.ports("pcisf") == {}
    assert mlx5.functions() == []
    folders = mlx5.machine.run(f"cd {AUX}; for name in *; do readlink -f $name; done").stdout.split()
    assert folders
    assert [folder for folder in folders if PCI in folder] == []
    mlx5.bind(PCI)
    mlx5.reset()
    mlx5.add(CARD, 88)


def test_rates_are_kept_in_whole_megabits(mlx5: Mlx5) -> None:
    handle = mlx5.add(CARD, 88)
    mlx5.machine.run(f"devlink port function rate set {handle} tx_share 10mbit tx_max 200mbit")
    (leaf,) = mlx5.devlink("port", "function", "rate", "show")["rate"].values()
    assert (leaf["type"], leaf["tx_share"], leaf["tx_max"]) == ("leaf", 1_250_000, 25_000_000)
    said = mlx5.refusal(f"devlink port function rate set {handle} tx_max 20500kbit")
    assert "TX rate value not in link speed units of 1Mbps" in said
    said = mlx5.refusal(f"devlink port function rate set {handle} tx_max 200gbit")
    assert "TX rate value exceed link maximum speed" in said


def test_a_rate_node_is_deleted_when_its_last_child_has_left(mlx5: Mlx5) -> None:
    handle = mlx5.add(CARD, 88)
    mlx5.machine.run(f"devlink port function rate add {CARD}/gold tx_max 1gbit")
    mlx5.machine.run(f"devlink port function rate set {handle} parent gold")
    said = mlx5.refusal(f"devlink port function rate del {CARD}/gold")
    assert "Node has children. Cannot delete node." in said
    mlx5.machine.run(f"devlink port function rate set {handle} noparent")
    mlx5.machine.run(f"devlink port function rate del {CARD}/gold")


def test_a_representor_takes_no_address_and_leaves_no_namespace(mlx5: Mlx5) -> None:
    representor = mlx5.port(mlx5.add(CARD, 88))["netdev"]
    assert "Operation not supported" in mlx5.refusal(f"ip link set {representor} address 02:00:00:00:00:01")
    mlx5.machine.run("ip netns add pod")
    try:
        assert "Invalid argument" in mlx5.refusal(f"ip link set {representor} netns pod")
    finally:
        mlx5.machine.run("ip netns del pod")


def test_a_netdev_in_a_pods_namespace_is_not_shown_at_its_port(mlx5: Mlx5) -> None:
    _, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    mlx5.machine.run(f"ip netns add pod; ip link set $(ls {AUX}/{device}/net) netns pod name pod0")
    (virtual,) = mlx5.ports("virtual").values()
    assert "netdev" not in virtual
    mlx5.machine.run("ip netns exec pod ip link set pod0 up; ip netns del pod")
    until(lambda: list(mlx5.ports("virtual").values()), lambda ports: "netdev" in ports[0])
