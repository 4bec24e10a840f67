"""Physical functions: cards, NUMA nodes, capacity, rates, and what goes when they go."""

from harness.machine import Machine
from harness.sfsim import AUX, Sfsim, until

PCI = "0000:05:00.0"
CARD = "pci/0000:05:00.0"
SECOND = "pci/0000:05:00.1"
OTHER_CARD = "pci/0000:81:00.0"


def test_functions_of_a_card_share_its_switch_and_cards_do_not(switched: Sfsim) -> None:
    ports = [switched.add(CARD, 1), switched.add(SECOND, 1, pf=1), switched.add(OTHER_CARD, 1)]
    names = [switched.port(handle)["netdev"] for handle in ports]
    first, second, other = (switched.machine.run(f"cat /sys/class/net/{name}/phys_switch_id").stdout for name in names)
    assert first == second != other


def test_each_card_is_on_its_own_numa_node(machine: Machine) -> None:
    shown = machine.run(
        "cd /sys/bus/pci/devices; cat 0000:05:00.0/numa_node 0000:05:00.1/numa_node 0000:81:00.0/numa_node"
    ).stdout
    assert shown.split() == ["0", "0", "1"]


def test_the_number_of_the_pf_is_that_of_its_physical_port(sfsim: Sfsim) -> None:
    sfsim.load(switchdev=1, first_port=4)
    physical = sfsim.ports("physical")
    assert sorted(port["port"] for port in physical.values()) == [4, 4, 5]
    said = sfsim.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Invalid pfnum supplied" in said
    sfsim.add(CARD, 88, pf=4)


def test_what_it_can_hold_and_who_drives_it(sfsim: Sfsim) -> None:
    shown = sfsim.devlink("resource", "show", CARD)["resources"][CARD]
    assert [(entry["name"], entry["size"]) for entry in shown] == [("max_local_SFs", 128)]
    assert sfsim.devlink("dev", "info", CARD)["info"][CARD]["driver"] == "mlx5_core"


def test_going_back_to_legacy_mode_takes_every_sub_function_along(switched: Sfsim) -> None:
    switched.attach(CARD, 88)
    switched.add(CARD, 89)
    kept = switched.add(SECOND, 88, pf=1)
    switched.machine.run(f"devlink dev eswitch set {CARD} mode legacy")
    assert list(switched.ports("pcisf")) == [kept]
    until(lambda: switched.machine.run(f"ls {AUX}").stdout, lambda names: names == "")


def test_unbinding_the_pf_takes_every_sub_function_along_at_once(switched: Sfsim) -> None:
    switched.attach(CARD, 88)
    switched.delay(PCI, attach_ms=60_000, detach_ms=60_000)
    switched.set(switched.add(CARD, 89), "state", "active")
    switched.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/unbind", timeout=10)
    assert switched.ports("pcisf") == {}
    assert switched.machine.run(f"ls {AUX}").stdout == ""
    switched.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/bind")
    switched.add(CARD, 88)


def test_rates_are_kept_in_whole_megabits(switched: Sfsim) -> None:
    handle = switched.add(CARD, 88)
    switched.machine.run(f"devlink port function rate set {handle} tx_share 10mbit tx_max 200mbit")
    (leaf,) = switched.devlink("port", "function", "rate", "show")["rate"].values()
    assert (leaf["type"], leaf["tx_share"], leaf["tx_max"]) == ("leaf", 1_250_000, 25_000_000)
    said = switched.refusal(f"devlink port function rate set {handle} tx_max 20500kbit")
    assert "TX rate value not in link speed units of 1Mbps" in said
    said = switched.refusal(f"devlink port function rate set {handle} tx_max 200gbit")
    assert "TX rate value exceed link maximum speed" in said


def test_a_rate_node_is_deleted_when_its_last_child_has_left(switched: Sfsim) -> None:
    handle = switched.add(CARD, 88)
    switched.machine.run(f"devlink port function rate add {CARD}/gold tx_max 1gbit")
    switched.machine.run(f"devlink port function rate set {handle} parent gold")
    said = switched.refusal(f"devlink port function rate del {CARD}/gold")
    assert "Node has children. Cannot delete node." in said
    switched.machine.run(f"devlink port function rate set {handle} noparent")
    switched.machine.run(f"devlink port function rate del {CARD}/gold")
