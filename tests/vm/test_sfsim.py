"""The simulated NIC as iproute2's devlink sees it: none of our own code takes part."""

import errno

import pytest

from harness.errors import CommandFailed
from harness.machine import Machine
from harness.sfsim import Operation, Sfsim, until

PCI = "0000:05:00.0"
CARD = f"pci/{PCI}"
SECOND = "pci/0000:05:00.1"
OTHER_CARD = "pci/0000:81:00.0"
AUX = "/sys/bus/auxiliary/devices"


def refusal(machine: Machine, command: str) -> str:
    """What devlink says of a request that the kernel refuses."""
    with pytest.raises(CommandFailed) as caught:
        machine.run(command)
    return caught.value.output


def attached(sfsim: Sfsim, number: int, mac: str = "00:00:00:00:88:88") -> tuple[str, str]:
    """An attached sub-function: its port's handle, and the name of its auxiliary device."""
    handle = sfsim.add(CARD, number)
    sfsim.set(handle, "hw_addr", mac, "state", "active")
    port = sfsim.wait(handle, "attached")
    # The nested handle is set when the driver has registered, a moment after it attached.
    port = until(lambda: sfsim.port(handle), lambda port: "nested_devlink" in port["function"])
    (nested,) = port["function"]["nested_devlink"]
    return handle, nested.removeprefix("auxiliary/")


def enable(sfsim: Sfsim, device: str, *parameters: str) -> None:
    for name in parameters:
        sfsim.machine.run(f"devlink dev param set auxiliary/{device} name {name} value true cmode driverinit")
    sfsim.machine.run(f"devlink dev reload auxiliary/{device}")


def listing(machine: Machine) -> str:
    """Every device there is, by its path."""
    return machine.run(
        "find /sys/devices/pci* /sys/devices/virtual/net /sys/bus/auxiliary /sys/class/net /sys/class/infiniband* "
        "/sys/kernel/debug/sfsim /dev | sort; devlink port show; devlink port function rate show; rdma link"
    ).stdout


class TestRefusals:
    def test_in_legacy_mode_no_number_can_be_added(self, sfsim: Sfsim) -> None:
        said = refusal(sfsim.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Error: mlx5_core: SF ports are only supported in eswitch switchdev mode." in said
        assert "Operation not supported" in said

    def test_a_kernel_without_sub_functions_says_so(self, sfsim: Sfsim) -> None:
        sfsim.load(no_sf=1, switchdev=1)
        said = refusal(sfsim.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Error: mlx5_core: SF ports are not supported." in said

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (f"{CARD} flavour pcisf pfnum 1 sfnum 1", "Invalid pfnum supplied"),
            (f"{CARD} flavour pcisf pfnum 0", "User must provide unique sfnum."),
            (f"{CARD} flavour pcisf pfnum 0 sfnum 1 controller 1", "External controller is unsupported"),
            (f"{CARD}/7 flavour pcisf pfnum 0 sfnum 1", "Driver does not support user defined port index assignment"),
            (f"{CARD} flavour pcipf pfnum 0", "Driver supports only SF port addition"),
        ],
    )
    def test_a_wrong_request_is_told_why(self, switched: Sfsim, words: str, text: str) -> None:
        assert f"Error: mlx5_core: {text}" in refusal(switched.machine, f"devlink port add {words}")

    def test_a_number_can_be_taken_once(self, switched: Sfsim) -> None:
        switched.add(CARD, 88)
        switched.add(SECOND, 88, pf=1)
        said = refusal(switched.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Error: mlx5_core: SF already exist. Choose different sfnum" in said
        assert "File exists" in said

    def test_a_full_card_has_no_space(self, sfsim: Sfsim) -> None:
        sfsim.load(switchdev=1, max_sfs=2)
        handles = [sfsim.add(CARD, number) for number in (10, 20)]
        said = refusal(sfsim.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 30")
        assert "No space left on device" in said
        sfsim.delete(handles[0])
        sfsim.add(CARD, 30)

    def test_without_the_capability_nothing_changes_and_everything_can_be_read(self, switched: Sfsim) -> None:
        run_bare = "setpriv --reuid 65534 --regid 65534 --clear-groups devlink port"
        assert CARD in switched.machine.run(f"{run_bare} show").stdout
        said = refusal(switched.machine, f"{run_bare} add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Operation not permitted" in said


class TestLife:
    def test_a_new_port_is_inactive_and_detached(self, switched: Sfsim) -> None:
        handle = switched.add(CARD, 88)
        port = switched.port(handle)
        assert (port["flavour"], port["controller"], port["pfnum"], port["sfnum"]) == ("pcisf", 0, 0, 88)
        assert port["function"] == {
            "hw_addr": "00:00:00:00:00:00", "state": "inactive", "opstate": "detached", "roce": "enable",
            "max_io_eqs": 8,
        }  # fmt: skip

    def test_a_light_sub_function_has_nothing_until_enabled_and_reloaded(self, switched: Sfsim) -> None:
        machine = switched.machine
        handle, device = attached(switched, 88)
        assert machine.run(f"cat {AUX}/{device}/sfnum").stdout == "88\n"
        assert machine.run(f"readlink {AUX}/{device}/driver").stdout.strip().endswith("/drivers/mlx5_core.sf")
        assert machine.run(f"ls {AUX}/{device}").stdout.split() == ["driver", "power", "sfnum", "subsystem", "uevent"]
        parameters = switched.devlink("dev", "param", "show", f"auxiliary/{device}")["param"][f"auxiliary/{device}"]
        assert {entry["name"]: entry["values"][0]["value"] for entry in parameters} == {
            "enable_eth": False,
            "enable_rdma": False,
        }

        enable(switched, device, "enable_eth", "enable_rdma")

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

    def test_a_heavy_sub_function_comes_up_whole(self, sfsim: Sfsim) -> None:
        sfsim.load(switchdev=1, light=0)
        _, device = attached(sfsim, 88)
        assert len(sfsim.machine.run(f"ls {AUX}/{device}/net {AUX}/{device}/infiniband_verbs").stdout.split()) == 4

    def test_rdma_without_ethernet(self, switched: Sfsim) -> None:
        _, device = attached(switched, 88)
        enable(switched, device, "enable_rdma")
        names = switched.machine.run(f"ls {AUX}/{device}").stdout.split()
        assert "infiniband_verbs" in names
        assert "net" not in names

    def test_a_function_without_roce_has_no_rdma_to_enable(self, switched: Sfsim) -> None:
        handle = switched.add(CARD, 88)
        switched.set(handle, "roce", "disable")
        switched.set(handle, "state", "active")
        switched.wait(handle, "attached")
        said = refusal(
            switched.machine,
            f"devlink dev param set auxiliary/$(ls {AUX}) name enable_rdma value true cmode driverinit",
        )
        assert "Operation not supported" in said

    def test_enabled_parameters_last_until_the_function_is_deactivated(self, switched: Sfsim) -> None:
        handle, device = attached(switched, 88)
        enable(switched, device, "enable_eth")
        enable(switched, device)
        assert "net" in switched.machine.run(f"ls {AUX}/{device}").stdout.split()
        switched.set(handle, "state", "inactive")
        switched.wait(handle, "detached")
        switched.set(handle, "state", "active")
        switched.wait(handle, "attached")
        assert "net" not in switched.machine.run(f"ls {AUX}/*").stdout.split()

    def test_frames_pass_between_a_sub_function_and_its_representor(self, switched: Sfsim) -> None:
        handle, device = attached(switched, 88)
        enable(switched, device, "enable_eth")
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

    def test_deletion_leaves_nothing(self, switched: Sfsim) -> None:
        before = listing(switched.machine)
        handle, device = attached(switched, 88)
        enable(switched, device, "enable_eth", "enable_rdma")
        assert listing(switched.machine) != before
        switched.set(handle, "state", "inactive")
        switched.wait(handle, "detached")
        switched.delete(handle)
        assert until(lambda: listing(switched.machine), lambda now: now == before) == before

    def test_an_open_verbs_device_does_not_hold_up_the_removal(self, switched: Sfsim) -> None:
        handle, device = attached(switched, 88)
        enable(switched, device, "enable_rdma")
        switched.machine.run(
            f"exec 9<>/dev/infiniband/uverbs0; devlink port function set {handle} state inactive; "
            f"timeout 5 sh -c 'while [ -e {AUX}/{device} ]; do sleep 0.05; done'"
        )


class TestDriver:
    def test_an_unbound_driver_leaves_the_port_active_and_detached(self, switched: Sfsim) -> None:
        handle, device = attached(switched, 88)
        driver = "/sys/bus/auxiliary/drivers/mlx5_core.sf"
        switched.machine.run(f"echo {device} > {driver}/unbind")
        function = switched.wait(handle, "detached")["function"]
        assert function["state"] == "active"
        switched.machine.run(f"test -e {AUX}/{device}; echo {device} > {driver}/bind")
        assert switched.wait(handle, "attached")["function"]["state"] == "active"

    def test_a_driver_unbound_during_the_teardown_completes_it(self, switched: Sfsim) -> None:
        switched.delay(PCI, detach_ms=60_000)
        handle, device = attached(switched, 88)
        switched.set(handle, "state", "inactive")
        assert switched.port(handle)["function"]["opstate"] == "attached"
        switched.machine.run(f"echo {device} > /sys/bus/auxiliary/drivers/mlx5_core.sf/unbind")
        switched.wait(handle, "detached")
        assert switched.machine.run(f"ls {AUX}").stdout == ""

    def test_a_failed_probe_leaves_the_port_active_and_detached(self, switched: Sfsim) -> None:
        switched.fail_next(PCI, "probe", errno.EIO)
        handle = switched.add(CARD, 88)
        switched.set(handle, "state", "active")
        switched.machine.run(f"timeout 5 sh -c 'until ls {AUX}/*/sfnum; do sleep 0.05; done'")
        function = switched.port(handle)["function"]
        assert (function["state"], function["opstate"]) == ("active", "detached")
        assert "nested_devlink" not in function
        assert "driver" not in switched.machine.run(f"ls {AUX}/*").stdout.split()
        switched.set(handle, "state", "inactive")
        switched.wait(handle, "detached")
        switched.set(handle, "state", "active")
        switched.wait(handle, "attached")

    def test_activation_takes_its_time_and_shows_meanwhile_active_and_detached(self, switched: Sfsim) -> None:
        switched.delay(PCI, attach_ms=700)
        handle = switched.add(CARD, 88)
        switched.set(handle, "state", "active")
        function = switched.port(handle)["function"]
        assert (function["state"], function["opstate"]) == ("active", "detached")
        switched.wait(handle, "attached")

    def test_while_it_is_tearing_down_it_cannot_be_activated(self, switched: Sfsim) -> None:
        handle, _ = attached(switched, 88)
        switched.delay(PCI, detach_ms=60_000)
        switched.set(handle, "state", "inactive")
        function = switched.port(handle)["function"]
        assert (function["state"], function["opstate"]) == ("inactive", "attached")
        said = refusal(switched.machine, f"devlink port function set {handle} state active")
        assert "Error: mlx5_core: SF is inactivated but it is still attached" in said
        assert "Device or resource busy" in said

    def test_a_deleted_active_number_is_free_again_only_when_its_driver_has_let_go(self, switched: Sfsim) -> None:
        handle, _ = attached(switched, 88)
        switched.delay(PCI, detach_ms=1500)
        switched.delete(handle)
        assert switched.ports("pcisf") == {}
        said = refusal(switched.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "File exists" in said
        again = f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88"
        until(lambda: switched.machine.run(again, check=False).code, lambda code: code == 0)
        assert switched.machine.run(f"ls {AUX}").stdout == ""

    def test_the_running_function_keeps_the_address_it_came_up_with(self, switched: Sfsim) -> None:
        handle, device = attached(switched, 88)
        switched.set(handle, "hw_addr", "00:00:00:00:99:99")
        assert switched.port(handle)["function"]["hw_addr"] == "00:00:00:00:99:99"
        enable(switched, device, "enable_eth")
        assert switched.machine.run(f"cat {AUX}/{device}/net/*/address").stdout == "00:00:00:00:88:88\n"


class TestFaults:
    @pytest.mark.parametrize(
        ("operation", "command"),
        [
            ("new", f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 89"),
            ("set_mac", "devlink port function set $handle hw_addr 00:00:00:00:00:02"),
            ("activate", "devlink port function set $handle state active"),
            ("del", "devlink port del $handle"),
        ],
    )
    def test_the_next_two_operations_fail_and_the_third_succeeds(
        self, switched: Sfsim, operation: Operation, command: str
    ) -> None:
        command = f"handle={switched.add(CARD, 88)}; {command}"
        switched.fail_next(PCI, operation, errno.EIO, 2)
        for _ in range(2):
            said = refusal(switched.machine, command)
            assert "Error: mlx5_core: injected fault" in said
            assert "Input/output error" in said
        switched.machine.run(command)

    def test_a_failed_reload_is_shown_and_the_next_one_heals(self, switched: Sfsim) -> None:
        _, device = attached(switched, 88)
        switched.fail_next(PCI, "reload", errno.ETIMEDOUT)
        assert "injected fault" in refusal(switched.machine, f"devlink dev reload auxiliary/{device}")
        assert "reload_failed true" in switched.machine.run(f"devlink -v dev show auxiliary/{device}").stdout
        enable(switched, device, "enable_eth")
        assert "reload_failed true" not in switched.machine.run(f"devlink -v dev show auxiliary/{device}").stdout

    def test_nonsense_is_no_fault(self, switched: Sfsim) -> None:
        for line in ("teleport 5 1", "new 0 1", "new", "new -5 1"):
            assert switched.machine.run(f"echo {line} > /sys/kernel/debug/sfsim/{PCI}/fail_next", check=False).code == 1


class TestCard:
    def test_functions_of_a_card_share_its_switch_and_cards_do_not(self, switched: Sfsim) -> None:
        ports = [switched.add(CARD, 1), switched.add(SECOND, 1, pf=1), switched.add(OTHER_CARD, 1)]
        names = [switched.port(handle)["netdev"] for handle in ports]
        first, second, other = (
            switched.machine.run(f"cat /sys/class/net/{name}/phys_switch_id").stdout for name in names
        )
        assert first == second != other

    def test_each_card_is_on_its_own_numa_node(self, machine: Machine) -> None:
        shown = machine.run(
            "cd /sys/bus/pci/devices; cat 0000:05:00.0/numa_node 0000:05:00.1/numa_node 0000:81:00.0/numa_node"
        ).stdout
        assert shown.split() == ["0", "0", "1"]

    def test_the_number_of_the_pf_is_that_of_its_physical_port(self, sfsim: Sfsim) -> None:
        sfsim.load(switchdev=1, first_port=4)
        physical = sfsim.ports("physical")
        assert sorted(port["port"] for port in physical.values()) == [4, 4, 5]
        said = refusal(sfsim.machine, f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
        assert "Invalid pfnum supplied" in said
        sfsim.add(CARD, 88, pf=4)

    def test_what_it_can_hold_and_who_drives_it(self, sfsim: Sfsim) -> None:
        shown = sfsim.devlink("resource", "show", CARD)["resources"][CARD]
        assert [(entry["name"], entry["size"]) for entry in shown] == [("max_local_SFs", 128)]
        assert sfsim.devlink("dev", "info", CARD)["info"][CARD]["driver"] == "mlx5_core"

    def test_going_back_to_legacy_mode_takes_every_sub_function_along(self, switched: Sfsim) -> None:
        attached(switched, 88)
        switched.add(CARD, 89)
        kept = switched.add(SECOND, 88, pf=1)
        switched.machine.run(f"devlink dev eswitch set {CARD} mode legacy")
        assert list(switched.ports("pcisf")) == [kept]
        until(lambda: switched.machine.run(f"ls {AUX}").stdout, lambda names: names == "")

    def test_unbinding_the_pf_takes_every_sub_function_along_at_once(self, switched: Sfsim) -> None:
        attached(switched, 88)
        switched.delay(PCI, attach_ms=60_000, detach_ms=60_000)
        switched.set(switched.add(CARD, 89), "state", "active")
        switched.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/unbind", timeout=10)
        assert switched.ports("pcisf") == {}
        assert switched.machine.run(f"ls {AUX}").stdout == ""
        switched.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/bind")
        switched.add(CARD, 88)

    def test_rates_are_kept_in_whole_megabits(self, switched: Sfsim) -> None:
        handle = switched.add(CARD, 88)
        switched.machine.run(f"devlink port function rate set {handle} tx_share 10mbit tx_max 200mbit")
        (leaf,) = switched.devlink("port", "function", "rate", "show")["rate"].values()
        assert (leaf["type"], leaf["tx_share"], leaf["tx_max"]) == ("leaf", 1_250_000, 25_000_000)
        said = refusal(switched.machine, f"devlink port function rate set {handle} tx_max 20500kbit")
        assert "TX rate value not in link speed units of 1Mbps" in said
        said = refusal(switched.machine, f"devlink port function rate set {handle} tx_max 200gbit")
        assert "TX rate value exceed link maximum speed" in said

    def test_a_rate_node_is_deleted_when_its_last_child_has_left(self, switched: Sfsim) -> None:
        handle = switched.add(CARD, 88)
        switched.machine.run(f"devlink port function rate add {CARD}/gold tx_max 1gbit")
        switched.machine.run(f"devlink port function rate set {handle} parent gold")
        said = refusal(switched.machine, f"devlink port function rate del {CARD}/gold")
        assert "Node has children. Cannot delete node." in said
        switched.machine.run(f"devlink port function rate set {handle} noparent")
        switched.machine.run(f"devlink port function rate del {CARD}/gold")
