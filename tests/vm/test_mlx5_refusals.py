"""What the real mlx5 driver refuses, and in which words: iproute2's devlink asks, none of our code takes part."""

import pytest

from harness.mlx5 import Mlx5

CARD = "pci/0000:05:00.0"
SECOND = "pci/0000:05:00.1"


def test_in_legacy_mode_no_number_can_be_added(mlx5_legacy: Mlx5) -> None:
    said = mlx5_legacy.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: mlx5_core: SF ports are only supported in eswitch switchdev mode." in said
    assert "Operation not supported" in said


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
def test_a_wrong_request_is_told_why(mlx5: Mlx5, words: str, text: str) -> None:
    said = mlx5.refusal(f"devlink port add {words}")
    assert f"Error: mlx5_core: {text}" in said
    assert "Operation not supported" in said


def test_a_number_can_be_taken_once(mlx5: Mlx5) -> None:
    mlx5.add(CARD, 88)
    mlx5.add(SECOND, 88, pf=1)
    said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: mlx5_core: SF already exist. Choose different sfnum" in said
    assert "File exists" in said


def test_an_address_of_a_group_is_refused(mlx5: Mlx5) -> None:
    handle = mlx5.add(CARD, 88)
    said = mlx5.refusal(f"devlink port function set {handle} hw_addr 01:00:00:00:00:01")
    assert "Non-unicast hardware address unsupported" in said
    assert "Invalid argument" in said


def test_a_full_card_has_no_space_and_does_not_say_so_in_words(mlx5: Mlx5) -> None:
    lines = "; ".join(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum {number}" for number in range(128))
    mlx5.machine.run(f"set -e; {lines}", timeout=120)
    said = mlx5.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 300")
    assert "No space left on device" in said
    assert "Error:" not in said
    handles = mlx5.ports("pcisf")
    assert len(handles) == 128
    mlx5.delete(next(iter(handles)))
    mlx5.add(CARD, 300)


def test_without_the_capability_nothing_changes_and_everything_can_be_read(mlx5: Mlx5) -> None:
    run_bare = "setpriv --reuid 65534 --regid 65534 --clear-groups devlink"
    assert CARD in mlx5.machine.run(f"{run_bare} dev show").stdout
    said = mlx5.refusal(f"{run_bare} port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Operation not permitted" in said
