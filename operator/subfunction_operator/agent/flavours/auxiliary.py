"""The flavours `mlx5` and `ice`: a sub-function that stays on the auxiliary bus, with a netdev or an RDMA device."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from subfunction.api.subfunction import Spec
from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.parameter import ParameterValue
from subfunction.state.records import Health, LinkState, Record, Witness
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.offer.publish import device_nodes

ENABLE_ETH: Final = "enable_eth"
ENABLE_RDMA: Final = "enable_rdma"
ENABLE_ROCE: Final = "enable_roce"
SIZES: Final[Mapping[str, str]] = MappingProxyType(
    {"io_eq_size": "ioEQSize", "event_eq_size": "eventEQSize", "max_macs": "maxMACs"}
)
"""The parameters that are sizes, each with its field in `spec.mlx5`: no class device shows what was loaded."""


class Mlx5:
    """A sub-function of an mlx5 parent: an auxiliary device with a netdev, an RDMA device, or both.

    Upstream probes it "light" since about 6.5: it has only a devlink instance until `enable_*` are set and the instance
    is reloaded.
    """

    bus = "auxiliary"

    def parameters(self, spec: Spec) -> Mapping[str, ParameterValue]:
        """Return the parameters that make the class devices the spec asks for, and no others; then the sizes it names.

        `enable_roce` is false on a function that was probed light (mlx5_core, devlink.c, Linux 6.12 and 7.3): its RDMA
        device then carries raw Ethernet alone.
        """
        asked = spec.mlx5
        flags = {ENABLE_ETH: asked.ethernet, ENABLE_ROCE: _wants_roce(spec), ENABLE_RDMA: asked.rdma}
        sizes = zip(SIZES, (asked.io_eq_size, asked.event_eq_size, asked.max_macs), strict=True)
        return {**flags, **{name: size for name, size in sizes if size is not None}}

    def missing_device(self, spec: Spec, seen: Observation) -> str:
        """Check the netdev, the RDMA device with its verbs device, and its RoCE addresses."""
        if spec.mlx5.ethernet and seen.netdev is None and not seen.netdev_away:
            return "netdev"
        if spec.mlx5.rdma and (seen.rdma is None or seen.rdma.verbs is None):
            return "RDMA device"
        if _wants_roce(spec) and seen.rdma is not None and seen.rdma.gids == 0:
            return "RoCE address"
        return ""

    def has_requested_devices(self, spec: Spec, seen: Observation) -> bool:
        """Compare the netdev and the RDMA device with the spec."""
        ethernet = seen.netdev is not None or seen.netdev_away
        return (ethernet, seen.rdma is not None) == (spec.mlx5.ethernet, spec.mlx5.rdma) and not self.missing_device(
            spec, seen
        )

    def plan_bind(self, context: PortContext) -> None:
        """Return None: it stays on the auxiliary bus."""

    def device_record(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Add the verbs device and the connection manager as device nodes, and the names as environment variables."""
        return auxiliary_record(seen, record, devices, seen.rdma_nodes if spec.mlx5.rdma else ())


class Ice:
    """A sub-function of an E8xx: a netdev below the parent's device. It needs nothing but to be active."""

    bus = "auxiliary"

    def parameters(self, spec: Spec) -> Mapping[str, ParameterValue]:
        """Return none: ice has no such parameters."""
        return {}

    def missing_device(self, spec: Spec, seen: Observation) -> str:
        """Check the netdev."""
        return "" if seen.netdev is not None or seen.netdev_away else "netdev"

    def has_requested_devices(self, spec: Spec, seen: Observation) -> bool:
        """Return whether the netdev exists."""
        return not self.missing_device(spec, seen)

    def plan_bind(self, context: PortContext) -> None:
        """Return None: it stays on the auxiliary bus."""

    def device_record(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Add the names as environment variables; there are no device nodes."""
        return auxiliary_record(seen, record, devices, ())


def _wants_roce(spec: Spec) -> bool:
    return spec.mlx5.rdma and spec.capabilities.roce is not False


def auxiliary_record(seen: Observation, record: Record, devices: str, handed: tuple[CharacterDevice, ...]) -> Record:
    """Return the record with what a pod gets of an auxiliary device; `handed` are its device nodes.

    The witness leaves out the netdev's directory: a CNI plugin moves the netdev into the pod before the container
    starts, and PreStartContainer would then not find it. Where a CNI plugin moves the RDMA device, too, the witness has
    that device as a movable one instead of the inode of its verbs device, which the move makes anew. The verbs device's
    number stays in it: by that number a container gets the device node.

    Raises:
        ValueError: the auxiliary device was not observed.
    """
    auxiliary, netdev = seen.auxiliary, seen.netdev
    if auxiliary is None:
        raise ValueError("a sub-function without its auxiliary device cannot be published")
    env = {"SUBFUNCTION_DEVICE": auxiliary.name, "SUBFUNCTION_MAC": getattr(record.claim, "mac_address", "")}
    if netdev is not None:
        env["SUBFUNCTION_NETDEV"] = netdev.name
    if handed and seen.rdma is not None:
        env["SUBFUNCTION_RDMA"] = seen.rdma.name
    moved = (seen.rdma.verbs,) if handed and seen.rdma is not None and seen.rdma_exclusive else ()
    return msgspec.structs.replace(
        record,
        device_id=auxiliary.name,
        health=Health(healthy=True),
        nodes=device_nodes(handed, devices),
        env=env,
        numa_node=seen.parent.function.numa_node if seen.parent else None,
        link=snapshot_link(netdev) if netdev else record.link,
        witness=Witness(
            inodes={auxiliary.path: auxiliary.inode, **{node.path: node.inode for node in handed if node not in moved}},
            movable=_movable_devices(seen, record) if moved else {},
            links={f"{auxiliary.path}/driver": auxiliary.driver_link or ""},
            numbers={f"{device.path}/dev": device.number for device in handed},
        ),
    )


def _movable_devices(seen: Observation, record: Record) -> dict[str, int]:
    """Return the RDMA device by its folder; that of the record while it is away, for its inode is not seen then."""
    if seen.rdma is None or seen.rdma.inode is None:
        return record.witness.movable
    return {seen.rdma.path.rpartition("/")[0]: seen.rdma.inode}


def snapshot_link(netdev: Netdev) -> LinkState:
    """Return the name, MAC and MTU of a netdev, to restore them when it comes back from a pod."""
    return LinkState(name=netdev.name, mac_address=str(netdev.mac) if netdev.mac else None, mtu=netdev.mtu)
