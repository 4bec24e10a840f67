"""mlx5 as older kernels have it, which only sfsim plays: sub-functions that come up whole, ports elsewhere."""

import pytest

from conftest import loaded
from harness.machine import Machine
from harness.sfsim import AUX

pytestmark = pytest.mark.ground("sfsim mlx5")

CARD = "pci/0000:05:00.0"


def test_before_light_probe_a_sub_function_comes_up_whole(machine: Machine) -> None:
    with loaded(machine, switchdev=1, light=0) as sfsim:
        _, device = sfsim.attach(CARD, 88)
        names = machine.run(f"ls {AUX}/{device}").stdout.split()
        number = device.rpartition(".")[2]
        assert {f"mlx5_core.{kind}.{number}" for kind in ("eth", "rdma", "vnet")} <= set(names)
        assert {"net", "infiniband", "infiniband_verbs"} <= set(names)
        assert list(sfsim.vdpa.management()) == [f"auxiliary/{device}"]


def test_before_linux_6_3_the_virtual_port_is_on_the_sub_functions_instance(machine: Machine) -> None:
    with loaded(machine, switchdev=1, eth_instance=0) as sfsim:
        _, device = sfsim.attach(CARD, 88)
        sfsim.enable(device, "enable_eth")
        (handle,) = sfsim.ports("virtual")
        assert handle.startswith(f"auxiliary/{device}/")
