"""Pods as a kernel sees them: whoever has a netdev in a namespace of its own, or a device node open."""

import dataclasses

from rig.world import World
from subfunction.kernel.rdma import are_namespaces_shared
from subfunction.state.records import Record, find_mismatch
from subfunction_simulator.kernel.device_users import Held


@dataclasses.dataclass(slots=True)
class Tenant:
    """A pod that was given a device, with all it does to it."""

    record: Record
    namespace: str
    open: list[Held] = dataclasses.field(default_factory=list)
    whole: bool = True
    """Whether what it was given is still there: the kernel may lose what nobody took away."""


class Tenants:
    """The pods of a world, by uid of the sub-function that each has."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: dict[str, Tenant] = {}

    def take(self, uid: str, *, in_ledger: bool, moved: bool) -> None:
        """Give a device that is on offer to a new pod: its netdev moves, or its nodes are opened."""
        world = self._world
        record = world.records.read(uid)
        # The device plugin compares the witness before it hands anything out.
        if (
            record is None
            or uid in self.all
            or not world.offered(record.name)
            or find_mismatch(record.witness, world.sysfs)
        ):
            return
        tenant = self.all[uid] = Tenant(record, f"pod-of-{record.name}")
        world.pods.holding.add(uid)
        if in_ledger:
            world.pods.in_ledger.add(uid)
        if moved:
            self._move_rdma(tenant)
        netdev = record.env.get("SUBFUNCTION_NETDEV")
        if moved and netdev in {each.name for each in world.kernel.hardware.netdevs if each.namespace is None}:
            world.kernel.move_netdev(netdev, tenant.namespace)
        for node in record.nodes:
            if "/vhost-vdpa-" in node.host_path and (world.root / node.host_path.removeprefix("/")).exists():
                tenant.open.append(world.kernel.hold_open(node.host_path.removeprefix("/dev/")))

    def _move_rdma(self, tenant: Tenant) -> None:
        """Take the RDMA device along; the pod has lost it if the move gives its verbs device another number."""
        kernel, name = self._world.kernel, tenant.record.env.get("SUBFUNCTION_RDMA")
        if name is not None and are_namespaces_shared(self._world.sysfs) is False:
            verbs = kernel.hardware.rdma.find(name).verbs
            kernel.move_rdma(name, tenant.namespace)
            if kernel.hardware.rdma.find(name).verbs != verbs:
                self.lost(tenant)

    def give_back(self, uid: str, *, mtu: int | None = None) -> None:
        """End a pod: its namespace dies, its processes close what they have open."""
        tenant = self.all.pop(uid, None)
        if tenant is None:
            return
        self.close(tenant)
        self._world.kernel.namespace_ends(tenant.namespace, mtu=mtu)
        self._world.pods.give_back(uid)

    @staticmethod
    def close(tenant: Tenant) -> None:
        """Close what its processes have open."""
        for held in tenant.open:
            held.close()
        tenant.open.clear()

    def lose_all(self, parent: str) -> None:
        """Take note that the kernel lost what was on a parent; a process whose device goes ends."""
        for tenant in self.all.values():
            if tenant.record.claim.parent == parent:
                self.lost(tenant)

    def lost(self, tenant: Tenant) -> None:
        """Take note that the kernel lost what one has."""
        tenant.whole = False
        self.close(tenant)
