"""What differs between flavours, as a table of small objects behind one protocol.

Issue A brings `mlx5`. A flavour that is in the API and not in the table is refused by its name.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from subfunction.api import Flavour, Spec
from subfunction.kernel.chardev import CharacterDevice
from subfunction.records import DeviceNode, Health, Record, Witness
from subfunction_operator.observation import Observation

ENABLE_ETH: Final = "enable_eth"
ENABLE_RDMA: Final = "enable_rdma"


class Kind(Protocol):
    """One flavour."""

    drivers: frozenset[str]
    """The parents' kernel drivers that can make it."""

    bus: str
    """The bus a finished one sits on."""

    def parameters(self, spec: Spec) -> Mapping[str, bool]:
        """Give the driverinit parameters of the function's instance, with the values they must have."""

    def missing(self, spec: Spec, seen: Observation) -> str:
        """Name the class device that is asked for and not there yet; empty when all are."""

    def as_asked(self, spec: Spec, seen: Observation) -> bool:
        """Say whether the class devices are those asked for, none missing and none too many."""

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Give the record with all that a pod is handed, and its witness; `devices` is where the host has `/dev`."""


class Mlx5:
    """A sub-function of an mlx5 parent: an auxiliary device with a netdev, an RDMA device, or both.

    Upstream probes it "light" since about 6.5: a devlink instance and nothing else, until `enable_*` are set and the
    instance is reloaded.
    """

    drivers = frozenset({"mlx5_core"})
    bus = "auxiliary"

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

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Hand out the verbs device, the connection manager, and the names in the environment.

        The netdev's directory is not witnessed: a CNI plugin moves it into the pod before the container starts, and
        PreStartContainer would then find it gone.
        """
        auxiliary = seen.auxiliary
        if auxiliary is None:
            raise ValueError("a sub-function without its auxiliary device offers nothing")
        env = {"SUBFUNCTION_DEVICE": auxiliary.name, "SUBFUNCTION_MAC": record.claim.mac_address}
        if seen.netdev is not None:
            env["SUBFUNCTION_NETDEV"] = seen.netdev.name
        handed: list[CharacterDevice] = []
        if spec.mlx5.rdma and seen.rdma is not None and seen.rdma.verbs is not None:
            env["SUBFUNCTION_RDMA"] = seen.rdma.name
            handed = [device for device in (seen.rdma.verbs, seen.connection_manager) if device is not None]
        return msgspec.structs.replace(
            record,
            resource=spec.resource,
            device_id=auxiliary.name,
            health=Health(healthy=True),
            nodes=tuple(
                DeviceNode(container_path=f"/dev/{device.name}", host_path=f"{devices}/{device.name}")
                for device in handed
            ),
            env=env,
            numa_node=seen.parent.function.numa_node if seen.parent else None,
            witness=Witness(
                inodes={auxiliary.path: auxiliary.inode, **{device.path: device.inode for device in handed}},
                links={f"{auxiliary.path}/driver": auxiliary.driver_link or ""},
                numbers={f"{device.path}/dev": device.number for device in handed},
            ),
        )


KINDS: Final[Mapping[Flavour, Kind]] = {Flavour.MLX5: Mlx5()}
