"""Mediated devices of a physical function: /dev/vfio/G, and who has to wait for whom."""

import errno
import json
from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.holder import release, vfio_held
from harness.machine import Machine
from harness.sfsim import Sfsim, until

pytestmark = pytest.mark.ground("sfsim mlx5")

PCI = "0000:05:00.0"
KIND = "mlx5_core-local"
UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"
THIRD = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1003"


@pytest.fixture
def offering(machine: Machine) -> Iterator[Sfsim]:
    with loaded(machine, switchdev=1, mdev=1) as sfsim:
        yield sfsim


def test_a_parent_offers_a_type_and_counts_what_is_left(offering: Sfsim) -> None:
    mediated = offering.mediated
    assert mediated.types(PCI) == (KIND,)
    folder = f"/sys/class/mdev_bus/{PCI}/mdev_supported_types/{KIND}"
    assert offering.machine.run(f"cat {folder}/device_api {folder}/name").stdout == "vfio-pci\nsub-function\n"
    assert mediated.available(PCI, KIND) == 2
    mediated.create(PCI, KIND, UUID)
    assert mediated.available(PCI, KIND) == 1
    mediated.remove(UUID)
    assert mediated.available(PCI, KIND) == 2


def test_without_the_parameter_nobody_offers_any(switched: Sfsim) -> None:
    assert switched.machine.run("ls /sys/class/mdev_bus 2>/dev/null", check=False).stdout == ""


def test_a_device_is_opened_through_its_group(offering: Sfsim) -> None:
    offering.mediated.create(PCI, KIND, UUID)
    group = offering.mediated.group(UUID)
    said = offering.machine.run(f"test -c /dev/vfio/{group}; python /src/tests/vm/programs/vfio.py {group} {UUID}")
    assert json.loads(said.stdout) == {"pci": True, "regions": 9, "interrupts": 5}


def test_the_same_uuid_too_many_and_nonsense_are_refused(offering: Sfsim) -> None:
    create = f"/sys/class/mdev_bus/{PCI}/mdev_supported_types/{KIND}/create"
    offering.mediated.create(PCI, KIND, UUID)
    assert "File exists" in offering.refusal(f"bash -c 'echo {UUID} > {create}'")
    offering.mediated.create(PCI, KIND, OTHER)
    assert "Too many users" in offering.refusal(f"bash -c 'echo {THIRD} > {create}'")
    assert "Invalid argument" in offering.refusal(f"bash -c 'echo nonsense > {create}'")


def test_an_injected_failure_leaves_nothing(offering: Sfsim) -> None:
    create = f"/sys/class/mdev_bus/{PCI}/mdev_supported_types/{KIND}/create"
    offering.fail_next(PCI, "mdev_create", errno.EIO)
    assert "Input/output error" in offering.refusal(f"bash -c 'echo {UUID} > {create}'")
    assert not offering.mediated.exists(UUID)


def test_removal_waits_for_whoever_has_it_open_and_the_bus_no_longer_knows_it_meanwhile(offering: Sfsim) -> None:
    offering.mediated.create(PCI, KIND, UUID)
    place = f"/sys/bus/pci/devices/{PCI}/{UUID}"
    with vfio_held(offering.machine, offering.mediated.group(UUID), UUID) as holder:
        removing = offering.mediated.remove_later(UUID)
        until(lambda: offering.mediated.exists(UUID), lambda there: not there)
        assert removing.alive()
        offering.machine.run(f"test -d {place}; test ! -e {place}/remove")
        offering.mediated.create(PCI, KIND, OTHER)
        release(holder)
        removing.wait()
    offering.machine.run(f"test ! -e {place}")


def test_unbinding_the_parent_takes_its_devices_along(offering: Sfsim) -> None:
    offering.mediated.create(PCI, KIND, UUID)
    offering.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/unbind")
    assert not offering.mediated.exists(UUID)
    offering.machine.run(f"echo {PCI} > /sys/bus/pci/drivers/mlx5_core/bind")
    offering.mediated.create(PCI, KIND, UUID)
