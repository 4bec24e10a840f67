"""A card whose firmware is in a fatal state, under the real mlx5 driver: one life, from error to error.

The tests are in the order of that life; each fixture brings the card one step further.
"""

from collections.abc import Iterator

import pytest

from conftest import fresh
from harness.machine import Machine
from harness.mlx5 import Mlx5
from harness.wait import until

PCI = "0000:05:00.0"
CARD, SECOND, OTHER_CARD = "pci/0000:05:00.0", "pci/0000:05:00.1", "pci/0000:81:00.0"
FATAL = f"{CARD} reporter fw_fatal"
SEEN = 40.0
"""Seconds; the driver looks about once in each, and takes up to ten to recover, in an emulated machine."""
LOG = "/run/share/devlink.log"


def fatal_reporter(mlx5: Mlx5, card: str = CARD) -> tuple[str, int, int]:
    """State, errors and recoveries, as `devlink health show` has them."""
    (shown,) = mlx5.devlink("health", "show", card, "reporter", "fw_fatal")["health"][card]
    return shown["state"], shown["error"], shown["recover"]


def until_reported(mlx5: Mlx5, state: str, errors: int, recoveries: int) -> None:
    wanted = [(state, errors, recoveries)] * 2
    until(lambda: [fatal_reporter(mlx5, card) for card in (CARD, SECOND)], lambda shown: shown == wanted, SEEN)


def mode(mlx5: Mlx5, card: str = CARD) -> str:
    return str(mlx5.devlink("dev", "eswitch", "show", card)["dev"][card]["mode"])


def with_functions(mlx5: Mlx5) -> tuple[str, str]:
    """Put the card into switchdev mode and give it an active sub-function; its port and its device."""
    mlx5.machine.run(f"devlink dev eswitch set {CARD} mode switchdev", timeout=60)
    handle, device = mlx5.attach(CARD, 88)
    mlx5.enable(device, "enable_eth")
    return handle, device


@pytest.fixture(scope="module")
def mlx5(mlx5_machine: Machine) -> Iterator[Mlx5]:
    with fresh(mlx5_machine) as mlx5:
        yield mlx5
        for card in (CARD, SECOND):
            mlx5.machine.run(f"devlink health recover {card} reporter fw_fatal", timeout=60)


@pytest.fixture(scope="module")
def kept(mlx5: Mlx5) -> str:
    """The port of a sub-function on the other card."""
    return mlx5.attach(OTHER_CARD, 5)[0]


@pytest.fixture(scope="module")
def recovered(mlx5: Mlx5, kept: str) -> tuple[str, str]:
    """The card had a fatal error and was recovered; the port and the device of the sub-function that it had."""
    assert kept
    handle, device = with_functions(mlx5)
    monitor = mlx5.machine.spawn(f"exec devlink monitor > {LOG}", name="monitor")
    mlx5.faults(PCI).be("fatal")
    until_reported(mlx5, "healthy", 1, 1)
    monitor.signal(15)
    return handle, device


@pytest.fixture(scope="module")
def given_up(mlx5: Mlx5, recovered: tuple[str, str]) -> str:
    """It had another one within the grace period of a minute; the port that it had until then."""
    assert recovered
    handle, _ = with_functions(mlx5)
    mlx5.faults(PCI).be("fatal")
    until_reported(mlx5, "error", 2, 1)
    until(lambda: mlx5.ports("pcisf"), lambda ports: handle not in ports, SEEN)
    return handle


@pytest.fixture(scope="module")
def halted(mlx5: Mlx5, given_up: str) -> str:
    """It was recovered by hand, and then had one that nobody recovers; the port that it has still."""
    assert given_up
    mlx5.machine.run(f"devlink health recover {FATAL}", timeout=60)  # does nothing to one that is well
    handle, _ = with_functions(mlx5)
    mlx5.machine.run(f"devlink health set {FATAL} auto_recover false")
    mlx5.faults(PCI).be("fatal")
    until(lambda: fatal_reporter(mlx5)[0], lambda state: state == "error", SEEN)
    return handle


class TestRecovered:
    def test_the_firmware_was_reset_once_for_both_functions_of_the_card(
        self, mlx5: Mlx5, recovered: tuple[str, str]
    ) -> None:
        assert recovered
        assert mlx5.faults(PCI).resets() == 1
        assert mlx5.faults("0000:81:00.0").resets() == 0

    def test_it_is_in_legacy_mode_without_sub_functions_and_the_other_card_is_as_before(
        self, mlx5: Mlx5, recovered: tuple[str, str], kept: str
    ) -> None:
        assert recovered
        assert [mode(mlx5, card) for card in (CARD, SECOND, OTHER_CARD)] == ["legacy", "legacy", "switchdev"]
        assert list(mlx5.ports("pcisf")) == [kept]
        assert mlx5.port(kept)["function"]["opstate"] == "attached"

    def test_no_event_says_that_the_ports_are_gone(self, mlx5: Mlx5, recovered: tuple[str, str]) -> None:
        handle, device = recovered
        heard = mlx5.machine.run(f"cat {LOG}").stdout
        assert f"[health,status] {CARD}:" in heard
        assert f"[dev,del] auxiliary/{device}:" in heard
        assert f"[dev,new] {CARD}:" in heard
        assert f"{handle}:" not in heard


class TestGivenUp:
    def test_nothing_is_left_of_it_but_its_instance_which_says_legacy(self, mlx5: Mlx5, given_up: str) -> None:
        assert "No such device" in mlx5.refusal(f"devlink port show {given_up}")
        assert mode(mlx5) == "legacy"
        assert "net" not in mlx5.machine.run(f"ls /sys/bus/pci/devices/{PCI}").stdout.split()
        assert mlx5.faults(PCI).resets() == 1

    def test_it_refuses_both_modes_words_and_a_reload_does_not_heal_it(self, mlx5: Mlx5, given_up: str) -> None:
        assert given_up
        said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 90")
        assert "SF ports are only supported in eswitch switchdev mode." in said
        assert "Link has been severed" in mlx5.refusal(f"devlink dev eswitch set {CARD} mode switchdev")
        mlx5.machine.run(f"devlink dev reload {CARD}", timeout=60)
        assert fatal_reporter(mlx5)[0] == "error"
        until(lambda: fatal_reporter(mlx5), lambda shown: shown == ("error", 3, 1), SEEN)

    def test_recovered_by_hand_its_firmware_is_reset_and_it_is_in_legacy_mode_and_makes_sub_functions_again(
        self, mlx5: Mlx5, given_up: str
    ) -> None:
        mlx5.machine.run(f"devlink health recover {FATAL}", timeout=60)
        assert (fatal_reporter(mlx5)[0], mode(mlx5), mlx5.faults(PCI).resets()) == ("healthy", "legacy", 2)
        assert with_functions(mlx5)[0] == given_up
        mlx5.machine.run(f"devlink dev eswitch set {CARD} mode legacy", timeout=60)


class TestHalted:
    def test_a_list_of_all_ports_is_empty_with_success(self, mlx5: Mlx5, halted: str, kept: str) -> None:
        assert mlx5.ports() == {}
        assert mlx5.port(kept)["sfnum"] == 5
        assert "Message too long" in mlx5.refusal(f"devlink port show {halted}")

    def test_what_needs_the_firmware_is_refused(self, mlx5: Mlx5, halted: str) -> None:
        assert mode(mlx5) == "switchdev"
        said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 90")
        assert "Link has been severed" in said
        assert "Error:" not in said
        assert "Failed getting HCA caps" in mlx5.refusal(f"devlink port show {halted}")

    def test_what_takes_away_is_done_and_the_device_outlives_its_port(self, mlx5: Mlx5, halted: str) -> None:
        devices = mlx5.functions()
        assert len(devices) == 2  # one is on the other card
        mlx5.delete(halted)
        assert "No such device" in mlx5.refusal(f"devlink port show {halted}")
        assert mlx5.functions() == devices
        mlx5.machine.run(f"devlink health recover {FATAL}", timeout=60)
        assert len(mlx5.functions()) == 1
