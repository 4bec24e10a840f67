"""The flavours of the matrix, and what the kernel must hold after each operation: by hand, line by line.

The lines are those of `sight`, without what was there before. `{mac}` and `{id}` are what the object's status shows; a
line that begins with `-` is gone.
"""

from typing import Final

from matrix.flavour import HANDLE, Flavour, Operation, node, sf
from subfunction_simulator.kernel import MediatedType

MAC: Final = "02:00:5e:10:00:01"
_AUXILIARY = ("auxiliary mlx5_core.sf: mlx5_core.sf",)
_ETHERNET = ("auxiliary mlx5_core.eth: mlx5_core.eth",)
_RDMA = ("auxiliary mlx5_core.rdma: mlx5_ib.rdma", "node infiniband/uverbs")
_VNET = ("auxiliary mlx5_core.vnet: mlx5_vdpa.vnet",)

_LIMIT = {"maxBitsPerSecond": 1_000_000_000}
_WAITS = (("created", "attach"), ("changed", "attach"), ("changed", "detach"), ("deleted", "detach"))
_BRIDGED = {"mtu": 1450, "bridge": "br0"}


def _mlx5() -> Flavour:
    whole = (*_AUXILIARY, *_ETHERNET, *_RDMA)
    without = {"macAddress": MAC, "capabilities": {"roce": False}, "mlx5": {"rdma": False}}
    tuned = {"mtu": 1400, "rate": _LIMIT, "representor": _BRIDGED}
    return Flavour(
        "mlx5",
        node(),
        (
            Operation(
                "created",
                {"flavour": "mlx5"},
                (
                    sf("{mac} active attached roce on queues 8 rate 0/0 representor up 1500"),
                    "netdev function: {mac} 1500 at home",
                    *whole,
                ),
            ),
            Operation(
                "tuned",
                tuned,
                (
                    sf("{mac} active attached roce on queues 8 rate 0/125000000 representor up 1450 in br0"),
                    "netdev function: {mac} 1400 at home",
                    *whole,
                ),
            ),
            Operation(
                "changed",
                without,
                (
                    sf(f"{MAC} active attached roce off queues 8 rate 0/125000000 representor up 1450 in br0"),
                    f"netdev function: {MAC} 1400 at home",
                    *_AUXILIARY,
                    *_ETHERNET,
                ),
            ),
            Operation("deleted", None),
        ),
        waits=_WAITS,
    )


def _ice() -> Flavour:
    auxiliary = ("auxiliary ice.sf: ice.sf",)
    return Flavour(
        "ice",
        node(driver="ice"),
        (
            Operation(
                "created",
                {"flavour": "ice"},
                (
                    sf("{mac} active attached representor up 1500"),
                    "netdev function: {mac} 1500 at home",
                    *auxiliary,
                ),
            ),
            Operation(
                "tuned",
                {"mtu": 1400, "representor": _BRIDGED},
                (
                    sf("{mac} active attached representor up 1450 in br0"),
                    "netdev function: {mac} 1400 at home",
                    *auxiliary,
                ),
            ),
            Operation(
                "changed",
                {"macAddress": MAC},
                (
                    sf(f"{MAC} active attached representor up 1450 in br0"),
                    f"netdev function: {MAC} 1400 at home",
                    *auxiliary,
                ),
            ),
            Operation("deleted", None),
        ),
    )


def _virtio(name: str, driver: str, other: str) -> Flavour:
    """Tell the story of a vDPA device: limited, then on the other driver with other queues, then gone."""
    ends = {"vhost-vdpa": ("node vhost-vdpa-",), "virtio-vdpa": ("netdev virtio: {mac} 1500 at home",)}
    bound = driver.replace("-", "_")
    rebound = other.replace("-", "_")
    # Nobody has to say so to a device that only one driver ever wanted.
    first = "None" if driver == "vhost-vdpa" else bound
    return Flavour(
        name,
        node(),
        (
            Operation(
                "created",
                {"flavour": "virtio", "virtio": {"driver": driver}},
                (
                    sf("{mac} active attached roce on queues 8 rate 0/0 representor up 1500"),
                    f"vdpa {{id}}: {bound} override {first} {{mac}} 1500 queues 1",
                    *_AUXILIARY,
                    *_VNET,
                    *ends[driver],
                ),
            ),
            Operation(
                "tuned",
                {"rate": _LIMIT, "representor": _BRIDGED},
                (
                    sf("{mac} active attached roce on queues 8 rate 0/125000000 representor up 1450 in br0"),
                    f"vdpa {{id}}: {bound} override {first} {{mac}} 1500 queues 1",
                    *_AUXILIARY,
                    *_VNET,
                    *ends[driver],
                ),
            ),
            Operation(
                "rebound",
                {"virtio": {"driver": other}},
                (
                    sf("{mac} active attached roce on queues 8 rate 0/125000000 representor up 1450 in br0"),
                    f"vdpa {{id}}: {rebound} override {rebound} {{mac}} 1500 queues 1",
                    *_AUXILIARY,
                    *_VNET,
                    *ends[other],
                ),
            ),
            Operation(
                "changed",
                {"macAddress": MAC, "virtio": {"driver": driver, "queuePairs": 1}},
                (
                    sf(f"{MAC} active attached roce on queues 8 rate 0/125000000 representor up 1450 in br0"),
                    f"vdpa {{id}}: {bound} override {first} {MAC} 1500 queues 1",
                    *_AUXILIARY,
                    *_VNET,
                    *ends[driver],
                ),
            ),
            Operation("deleted", None),
        ),
        waits=_WAITS,
    )


def _virtual_function() -> Flavour:
    gone = (
        f"-{HANDLE} vf 0: 00:00:00:00:00:00 capabilities 0b1 representor down 1500",
        "-pci 0000:03:01.0: mlx5_core override None",
        "-netdev function: 1500 at home",
        "-auxiliary mlx5_core.eth: mlx5_core.eth",
        "-auxiliary mlx5_core.rdma: mlx5_ib.rdma",
        "-node infiniband/uverbs",
    )
    taken = (*gone, "pci 0000:03:01.0: vfio-pci override vfio-pci", "node vfio/")
    return Flavour(
        "vfio-vf",
        node(virtual_functions=2),
        (
            Operation(
                "created",
                {"flavour": "vfio", "vfio": {"virtualFunction": 0}},
                (*taken, f"{HANDLE} vf 0: {{mac}} capabilities 0b1 representor up 1500"),
            ),
            Operation(
                "tuned",
                {"representor": _BRIDGED},
                (*taken, f"{HANDLE} vf 0: {{mac}} capabilities 0b1 representor up 1450 in br0"),
            ),
            Operation(
                "changed",
                {"macAddress": MAC, "capabilities": {"migratable": True}},
                (*taken, f"{HANDLE} vf 0: {MAC} capabilities 0b11 representor up 1450 in br0"),
            ),
            Operation("deleted", None),
        ),
        numbered=False,
    )


def _mediated() -> Flavour:
    made = ("mdev {id}: mlx5_core_mdev sfsim-a", "node vfio/")
    return Flavour(
        "vfio-mdev",
        node(mediated_types=(MediatedType("sfsim-a", 2),)),
        (
            Operation("created", {"flavour": "vfio", "vfio": {"mediatedDevice": "sfsim-a"}}, made),
            Operation("deleted", None),
        ),
        numbered=False,
    )


FLAVOURS: Final = {
    flavour.name: flavour
    for flavour in (
        _mlx5(),
        _ice(),
        _virtio("virtio-vhost", "vhost-vdpa", "virtio-vdpa"),
        _virtio("virtio-virtio", "virtio-vdpa", "vhost-vdpa"),
        _virtual_function(),
        _mediated(),
    )
}
