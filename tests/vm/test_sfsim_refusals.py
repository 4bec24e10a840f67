"""What the simulated NIC refuses, and in which words: iproute2's devlink is the judge, none of our code takes part."""

import pytest

from harness.sfsim import Sfsim

CARD = "pci/0000:05:00.0"
SECOND = "pci/0000:05:00.1"


def test_in_legacy_mode_no_number_can_be_added(sfsim: Sfsim) -> None:
    said = sfsim.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: mlx5_core: SF ports are only supported in eswitch switchdev mode." in said
    assert "Operation not supported" in said


def test_a_kernel_without_sub_functions_says_so(sfsim: Sfsim) -> None:
    sfsim.load(no_sf=1, switchdev=1)
    said = sfsim.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
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
def test_a_wrong_request_is_told_why(switched: Sfsim, words: str, text: str) -> None:
    assert f"Error: mlx5_core: {text}" in switched.refusal(f"devlink port add {words}")


def test_a_number_can_be_taken_once(switched: Sfsim) -> None:
    switched.add(CARD, 88)
    switched.add(SECOND, 88, pf=1)
    said = switched.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Error: mlx5_core: SF already exist. Choose different sfnum" in said
    assert "File exists" in said


def test_a_full_card_has_no_space(sfsim: Sfsim) -> None:
    sfsim.load(switchdev=1, max_sfs=2)
    handles = [sfsim.add(CARD, number) for number in (10, 20)]
    said = sfsim.refusal(f"devlink port add {CARD} flavour pcisf pfnum 0 sfnum 30")
    assert "No space left on device" in said
    sfsim.delete(handles[0])
    sfsim.add(CARD, 30)


def test_without_the_capability_nothing_changes_and_everything_can_be_read(switched: Sfsim) -> None:
    run_bare = "setpriv --reuid 65534 --regid 65534 --clear-groups devlink port"
    assert CARD in switched.machine.run(f"{run_bare} show").stdout
    said = switched.refusal(f"{run_bare} add {CARD} flavour pcisf pfnum 0 sfnum 88")
    assert "Operation not permitted" in said
