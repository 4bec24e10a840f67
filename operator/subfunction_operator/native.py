"""The native flavours: a sub-function that stays on the auxiliary bus, with a netdev and perhaps an RDMA device."""

from collections.abc import Mapping
from typing import Final

import msgspec

from subfunction.api import Spec
from subfunction.kernel.chardev import CharacterDevice
from subfunction.kernel.netdev import Netdev
from subfunction.records import DeviceNode, Health, Link, Record, Witness
from subfunction_operator.kind import Case
from subfunction_operator.observation import Observation

ENABLE_ETH: Final = "enable_eth"
ENABLE_RDMA: Final = "enable_rdma"


class Mlx5:
    """A sub-function of an mlx5 parent: an auxiliary device with a netdev, an RDMA device, or both.

    Upstream probes it "light" since about 6.5: a devlink instance and nothing else, until `enable_*` are set and the
    instance is reloaded.
    """

    drivers = frozenset({"mlx5_core"})
    bus = "auxiliary"
    modules = "-a mlx5_core mlx5_ib"
    rate_unit = 1_000_000

    def parameters(self, spec: Spec) -> Mapping[str, bool]:
        """Want the class devices the spec asks for, and no others."""
        return {ENABLE_ETH: spec.mlx5.ethernet, ENABLE_RDMA: spec.mlx5.rdma}

    def missing(self, spec: Spec, seen: Observation) -> str:
        """Look for the netdev, the RDMA device and its verbs device."""
        if spec.mlx5.ethernet and seen.netdev is None and not seen.away:
            return "netdev"
        if spec.mlx5.rdma and (seen.rdma is None or seen.rdma.verbs is None):
            return "RDMA device"
        return ""

    def as_asked(self, spec: Spec, seen: Observation) -> bool:
        """Look for what the parameters would have made."""
        ethernet = seen.netdev is not None or seen.away
        return (ethernet, seen.rdma is not None) == (spec.mlx5.ethernet, spec.mlx5.rdma) and not self.missing(
            spec, seen
        )

    def placed(self, case: Case) -> None:
        """Want no other bus."""

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Hand out the verbs device, the connection manager, and the names in the environment."""
        return native(seen, record, devices, seen.rdma_nodes if spec.mlx5.rdma else ())


class Ice:
    """A sub-function of an E8xx: a netdev, whose device is the parent; up once it is active, nothing to set."""

    drivers = frozenset({"ice"})
    bus = "auxiliary"
    modules = "ice"
    rate_unit = 1

    def parameters(self, spec: Spec) -> Mapping[str, bool]:
        """Have none."""
        return {}

    def missing(self, spec: Spec, seen: Observation) -> str:
        """Look for the netdev."""
        return "" if seen.netdev is not None or seen.away else "netdev"

    def as_asked(self, spec: Spec, seen: Observation) -> bool:
        """Be as asked once its netdev is there."""
        return not self.missing(spec, seen)

    def placed(self, case: Case) -> None:
        """Want no other bus."""

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Hand out the names in the environment."""
        return native(seen, record, devices, ())


def native(seen: Observation, record: Record, devices: str, handed: tuple[CharacterDevice, ...]) -> Record:
    """Say what a pod gets of an auxiliary device.

    The netdev's directory is not witnessed: a CNI plugin moves it into the pod before the container starts, and
    PreStartContainer would then find it gone.
    """
    auxiliary, netdev = seen.auxiliary, seen.netdev
    if auxiliary is None:
        raise ValueError("a sub-function without its auxiliary device offers nothing")
    env = {"SUBFUNCTION_DEVICE": auxiliary.name, "SUBFUNCTION_MAC": getattr(record.claim, "mac_address", "")}
    if netdev is not None:
        env["SUBFUNCTION_NETDEV"] = netdev.name
    if handed and seen.rdma is not None:
        env["SUBFUNCTION_RDMA"] = seen.rdma.name
    return msgspec.structs.replace(
        record,
        device_id=auxiliary.name,
        health=Health(healthy=True),
        nodes=nodes(handed, devices),
        env=env,
        numa_node=seen.parent.function.numa_node if seen.parent else None,
        link=link(netdev) if netdev else record.link,
        witness=Witness(
            inodes={auxiliary.path: auxiliary.inode, **{device.path: device.inode for device in handed}},
            links={f"{auxiliary.path}/driver": auxiliary.driver_link or ""},
            numbers={f"{device.path}/dev": device.number for device in handed},
        ),
    )


def nodes(handed: tuple[CharacterDevice, ...], devices: str) -> tuple[DeviceNode, ...]:
    """Give the device nodes of a container: under the same names as on the host."""
    return tuple(
        DeviceNode(container_path=f"/dev/{device.name}", host_path=f"{devices}/{device.name}") for device in handed
    )


def link(netdev: Netdev) -> Link:
    """Write down how a netdev is, for the day it comes back from a pod."""
    return Link(name=netdev.name, mac_address=str(netdev.mac) if netdev.mac else None, mtu=netdev.mtu)
