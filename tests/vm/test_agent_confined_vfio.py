"""The agent as the chart confines it (test_agent_confined.py), with virtual functions and mediated devices.

On sfsim in the machine with an IOMMU: the emulated firmware under the real mlx5 driver has no virtual functions, and no
driver of the kernel offers mediated devices without hardware.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from confined_node import PATIENCE, assert_refused, assert_witnessed, with_it_mended
from conftest import loaded
from harness.machine import Machine
from harness.sfsim import Sfsim
from node_in_vm import PCI, Cluster, Node, api_server, running

pytestmark = pytest.mark.ground("sfsim mlx5")

CARD = "0000:41:00.0"
MAC = "02:53:46:00:00:01"
KIND = "mlx5_core-local"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with api_server() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def nic(iommu_machine: Machine) -> Iterator[Sfsim]:
    """A machine for both kinds: with an IOMMU, virtual functions, and parents that offer mediated devices."""
    with loaded(iommu_machine, switchdev=1, mdev=1) as sfsim:
        sfsim.virtual_functions(CARD).make(2)
        yield sfsim


@pytest.fixture(scope="class")
def node(nic: Sfsim, cluster: Cluster) -> Iterator[Node]:
    """A node whose agent has all that the chart gives it."""
    with running(nic, cluster, confinement={}, usage_interval="1") as node:
        yield node


class TestWhatItHasIsEnough:
    @pytest.fixture(autouse=True)
    def _left_empty(self, node: Node) -> Iterator[None]:
        yield
        node.empty()

    def test_a_virtual_function_is_bound_and_given_back(self, node: Node) -> None:
        functions = node.sfsim.virtual_functions(CARD)
        address = functions.addresses()[1]
        before = (functions.driver(address), node.sfsim.ports("pcivf"))
        spec = {"parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 1}, "macAddress": MAC}
        node.cluster.apply("blue", flavour="vfio", **spec)
        assert node.until_ready("blue", PATIENCE)["device"]["id"] == address
        assert functions.driver(address) == "vfio-pci"
        assert_witnessed(node)
        node.removed("blue")
        assert (functions.driver(address), node.sfsim.ports("pcivf")) == before

    def test_a_mediated_device_is_made_and_removed(self, node: Node) -> None:
        left = node.sfsim.mediated.available(PCI, KIND)
        uuid = node.made("blue", flavour="vfio", vfio={"mediatedDevice": KIND})["device"]["id"]
        assert node.sfsim.mediated.exists(uuid)
        assert_witnessed(node)
        node.removed("blue")
        assert node.sfsim.mediated.available(PCI, KIND) == left


def test_with_a_read_only_host_sys_the_object_says_which_mount_it_is(nic: Sfsim, cluster: Cluster) -> None:
    with running(nic, cluster, confinement={"sysfs": "ro"}) as node:
        functions = node.sfsim.virtual_functions(CARD)
        before = [functions.driver(address) for address in functions.addresses()]
        specs: dict[str, dict[str, Any]] = {
            "function": {"flavour": "vfio", "parent": {"device": f"pci/{CARD}"}, "vfio": {"virtualFunction": 0}},
            "mediated": {"flavour": "vfio", "vfio": {"mediatedDevice": KIND}},
        }
        node.cluster.apply_all(specs)
        for name in specs:
            assert_refused(node, name, "Read-only file system", "`{name: sys, mountPath: /host/sys}`")
        assert [functions.driver(address) for address in functions.addresses()] == before
        with_it_mended(node, specs)
