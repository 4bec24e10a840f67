"""Objects of every flavour on two parents of one node: what they ask for, and what of that may change."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st

from rig.world import OTHER_PARENT, PARENT
from subfunction.kernel.address import Handle
from subfunction_simulator.kernel import MediatedType, Parent, Topology

TOPOLOGY: Final = Topology(
    parents=(
        Parent(
            bdf=PARENT.device,
            netdev="enp3s0np0",
            virtual_functions=2,
            mediated_types=(MediatedType("mlx5_core-local", 2),),
        ),
        Parent(bdf=OTHER_PARENT.device, netdev="enp130s0", driver="ice", numa_node=1, switch_id="e810"),
    ),
    bridges=("br0",),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What an object asks for once and for ever."""

    flavour: str
    parent: Handle = PARENT
    block: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def spec(self, changing: Mapping[str, Any]) -> dict[str, Any]:
        """Add what may change."""
        return {"flavour": self.flavour, "parent": {"device": str(self.parent)}, **self.block, **changing}


WISHES: Final[Mapping[str, Wish]] = {
    "first": Wish("mlx5"),
    "second": Wish("mlx5"),
    "vdpa": Wish("virtio"),
    "other": Wish("ice", OTHER_PARENT),
    "function": Wish("vfio", block={"vfio": {"virtualFunction": 0}}),
    "mediated": Wish("vfio", block={"vfio": {"mediatedDevice": "mlx5_core-local"}}),
}

CHANGES: Final = st.fixed_dictionaries(
    {},
    optional={
        "macAddress": st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"]),
        "deletionPolicy": st.sampled_from(["Drain", "Force"]),
        "representor": st.sampled_from([{"adminState": "down"}, {"mtu": 1450}, {"bridge": "br0"}]),
    },
)
OF_FLAVOUR: Final[Mapping[str, st.SearchStrategy[dict[str, Any]]]] = {
    "mlx5": st.fixed_dictionaries(
        {},
        optional={
            "mlx5": st.sampled_from([{"rdma": False}, {"ethernet": False}, {"ioEQSize": 64, "maxMACs": 1}]),
            "mtu": st.sampled_from([1400, 9000]),
            "rate": st.just({"maxBitsPerSecond": 1_000_000_000}),
            "capabilities": st.just({"maxIOEventQueues": 4}),
        },
    ),
    "ice": st.fixed_dictionaries({}, optional={"mtu": st.sampled_from([1300, 1400])}),
    "virtio": st.fixed_dictionaries(
        {},
        optional={
            "virtio": st.sampled_from([{"driver": "virtio-vdpa"}, {"queuePairs": 1}]),
            "rate": st.just({"maxBitsPerSecond": 1_000_000_000}),
        },
    ),
    "vfio": st.fixed_dictionaries({}),
}
