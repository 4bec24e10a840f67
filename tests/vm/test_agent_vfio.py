"""Flavour vfio on the real kernel: a virtual function bound and given back, a mediated device made and removed."""

from collections.abc import Iterator

import pytest

from conftest import loaded
from harness.holder import release, vfio_held
from harness.machine import Machine
from node_in_vm import PARENT, PCI, Node, api_server, running

pytestmark = pytest.mark.ground("sfsim mlx5")

CARD = "0000:41:00.0"
MAC = "02:53:46:00:00:01"
KIND = "mlx5_core-local"


@pytest.fixture(scope="module")
def node(iommu_machine: Machine) -> Iterator[Node]:
    """One machine for both kinds: it has an IOMMU and virtual functions, and each parent offers mediated devices."""
    with api_server() as cluster, loaded(iommu_machine, switchdev=1, mdev=1) as sfsim:
        sfsim.virtual_functions(CARD).make(2)
        with running(sfsim, cluster) as node:
            yield node


@pytest.fixture(autouse=True)
def _left_empty(node: Node) -> Iterator[None]:
    yield
    node.empty()


class TestVirtualFunction:
    def test_it_is_bound_with_its_address_and_given_back_when_nobody_has_it_open(self, node: Node) -> None:
        functions = node.sfsim.virtual_functions(CARD)
        address, other = functions.addresses()[1], functions.addresses()[0]
        before = (functions.driver(address), node.sfsim.ports("pcivf"))
        assert before[0] == "mlx5_core"
        spec = {"parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 1}, "macAddress": MAC}
        status = node.made("blue", flavour="vfio", **spec)
        group = functions.group(address)
        assert status["device"]["id"] == address
        assert functions.driver(address) == "vfio-pci"
        assert f"/dev/vfio/{group}" in status["device"]["nodes"]
        node.shell(f"test -c /dev/vfio/{group}")
        (port,) = (port for port in node.sfsim.ports("pcivf").values() if port["vfnum"] == 1)
        assert port["function"]["hw_addr"] == MAC
        assert functions.driver(other) == "mlx5_core"

        with vfio_held(node.machine, group, address) as holder:
            node.cluster.delete("blue")
            assert "fuser -v" in node.until_refused("blue", "HeldOpen", 20)
            node.shell("timeout 2 devlink dev show; timeout 2 ip link show")
            release(holder)
            node.until_gone("blue", timeout=20)
        assert (functions.driver(address), node.sfsim.ports("pcivf")) == before
        assert node.shell(f"cat /sys/bus/pci/devices/{address}/driver_override").strip() == "(null)"

    def test_one_that_is_not_there_is_named_with_how_to_make_it(self, node: Node) -> None:
        node.cluster.apply("blue", flavour="vfio", parent={"device": f"pci/{CARD}"}, vfio={"virtualFunction": 3})
        assert "sriov_numvfs" in node.until_refused("blue", "NoVirtualFunction")

    def test_a_driver_that_is_not_loaded_is_named_and_used_when_it_is(self, node: Node) -> None:
        node.shell("rmmod vfio_pci")
        try:
            spec = {"parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 0}}
            node.cluster.apply("blue", flavour="vfio", **spec)
            assert "modprobe vfio-pci" in node.until_refused("blue", "DriverNotLoaded").replace("_", "-")
        finally:
            node.shell("modprobe vfio_pci")
        node.until_ready("blue", 10)


class TestMediatedDevice:
    def test_it_is_made_of_the_named_type_and_removed_when_nobody_has_it_open(self, node: Node) -> None:
        mediated = node.sfsim.mediated
        left = mediated.available(PCI, KIND)
        status = node.made("blue", flavour="vfio", vfio={"mediatedDevice": KIND})
        uuid = status["device"]["id"]
        assert status["parent"] == PARENT
        assert mediated.exists(uuid)
        assert mediated.available(PCI, KIND) == left - 1
        assert f"/dev/vfio/{mediated.group(uuid)}" in status["device"]["nodes"]
        with vfio_held(node.machine, mediated.group(uuid), uuid) as holder:
            node.cluster.delete("blue")
            assert "fuser -v" in node.until_refused("blue", "HeldOpen", 20)
            release(holder)
            node.until_gone("blue", timeout=20)
        assert not mediated.exists(uuid)
        assert mediated.available(PCI, KIND) == left

    def test_a_type_that_is_not_offered_is_refused_with_those_that_are(self, node: Node) -> None:
        node.cluster.apply("blue", flavour="vfio", vfio={"mediatedDevice": "nvidia-63"})
        assert KIND in node.until_refused("blue", "NoMediatedType")
