"""The API as the programs see it: a SubFunction, decoded and checked once at the edge, frozen from there on.

The source of the schema is `crds/subfunctions.yaml`; what is here is the part that programs read and write. Fields the
API server defaults are defaulted here too, since a block that is absent is defaulted by nobody.
"""

import enum
from typing import Any, Final

import msgspec

GROUP: Final = "subfunction.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "subfunctions"
KIND: Final = "SubFunction"
FINALIZER: Final = f"{GROUP}/agent"


class Flavour(enum.StrEnum):
    """Which kind of sub-device it is, and so on which bus it lands."""

    MLX5 = "mlx5"
    ICE = "ice"
    VIRTIO = "virtio"
    VFIO = "vfio"


class VirtioDriver(enum.StrEnum):
    """Whom a vDPA device is bound to: user space by a device node, or the host's own virtio stack as a netdev."""

    VHOST = "vhost-vdpa"
    VIRTIO = "virtio-vdpa"


class DeletionPolicy(enum.StrEnum):
    """What deleting the object does to the sub-function."""

    DRAIN = "Drain"
    FORCE = "Force"
    RETAIN = "Retain"


class ConditionType(enum.StrEnum):
    """What a condition speaks of, in the order of a sub-function's life."""

    PLACED = "Placed"
    CREATED = "Created"
    ACTIVE = "Active"
    BOUND = "Bound"
    CONNECTED = "Connected"
    ALLOCATABLE = "Allocatable"
    READY = "Ready"
    IN_USE = "InUse"


class Phase(enum.StrEnum):
    """One word for where it is in its life."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    READY = "Ready"
    DRAINING = "Draining"
    RETURNING = "Returning"
    FAILED = "Failed"


class ParentSelector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the parent must be, where any fitting one will do; `vendor` is four hexadecimal digits."""

    driver: str | None = None
    vendor: str | None = None
    numa_node: int | None = None


class ParentSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Which physical function to cut it from; exactly one field is set."""

    device: str | None = None
    netdev: str | None = None
    selector: ParentSelector | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What the function may do; None leaves the driver's default."""

    roce: bool | None = None
    max_io_event_queues: int | None = msgspec.field(name="maxIOEventQueues", default=None)
    migratable: bool | None = None
    ipsec_crypto: bool | None = None
    ipsec_packet: bool | None = None


class Rate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What it may send, in bit/s."""

    share_bits_per_second: int | None = None
    max_bits_per_second: int | None = None


class Mlx5(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Which class devices a sub-function of an mlx5 parent has."""

    ethernet: bool = True
    rdma: bool = True


class Virtio(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """How a vDPA device looks to its user; None and empty leave the NIC's default. `mtu` is in bytes."""

    driver: VirtioDriver = VirtioDriver.VHOST
    queue_pairs: int | None = None
    features: tuple[str, ...] = ()
    mtu: int | None = None


class Vfio(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Which function is given away whole: a virtual function by its index, or a mediated device by its type."""

    virtual_function: int | None = None
    mediated_device: str | None = None


class Representor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """How its other end stands on the e-switch; `mtu` is in bytes."""

    admin_state: str = "up"
    mtu: int | None = None
    bridge: str | None = None


class TemplateSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What a sub-function should be, whichever one it is: what a pool's template says."""

    flavour: Flavour
    mtu: int | None = None
    capabilities: Capabilities = Capabilities()
    rate: Rate = Rate()
    mlx5: Mlx5 = Mlx5()
    virtio: Virtio = Virtio()
    vfio: Vfio = Vfio()
    representor: Representor = Representor()
    resource_name: str | None = None
    deletion_policy: DeletionPolicy | None = None


class Spec(TemplateSpec, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What one sub-function should be, and which one it is."""

    parent: ParentSpec
    node_name: str | None = None
    node_selector: dict[str, str] = {}
    number: int | None = None
    mac_address: str | None = None
    adopt: bool = False

    @property
    def resource(self) -> str:
        """What pods request."""
        return self.resource_name or f"{GROUP}/{self.flavour}"

    @property
    def deletion(self) -> DeletionPolicy:
        """What deleting the object does, where it does not say so itself."""
        return self.deletion_policy or (DeletionPolicy.RETAIN if self.adopt else DeletionPolicy.DRAIN)


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that is true of it, or not; `last_transition_time` is RFC 3339 and moves with `status` alone."""

    type: str
    status: str
    reason: str
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The device behind it, as the kubelet and the kernel name it."""

    id: str
    bus: str
    netdev: str | None = None
    rdma: str | None = None
    nodes: tuple[str, ...] = ()


class AllocatedTo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The pod that holds it."""

    namespace: str
    name: str
    container: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What a sub-function is, as its agent last saw it."""

    observed_generation: int = 0
    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    parent: str | None = None
    number: int | None = None
    port: int | None = None
    mac_address: str | None = None
    device: Device | None = None
    representor: str | None = None
    numa_node: int | None = None
    allocated_to: AllocatedTo | None = None

    def condition(self, kind: ConditionType) -> Condition | None:
        """Give the condition of one type."""
        return next((condition for condition in self.conditions if condition.type == kind), None)


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who the object is; `deletion_timestamp` is set once somebody deleted it."""

    name: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class SubFunction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sub-device on one node."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @classmethod
    def of(cls, body: Any) -> "SubFunction":
        """Read an object of the API.

        Raises:
            msgspec.ValidationError: it is of another shape than the CRD promises; the message names the field.
        """
        return msgspec.convert(body, cls)

    @property
    def uid(self) -> str:
        """What everything of it is named by."""
        return self.metadata.uid

    @property
    def name(self) -> str:
        """What people call it."""
        return self.metadata.name

    @property
    def deleting(self) -> bool:
        """Whether somebody deleted it."""
        return self.metadata.deletion_timestamp is not None

    @property
    def held(self) -> bool:
        """Whether our finalizer keeps the API server from forgetting it."""
        return FINALIZER in self.metadata.finalizers


# msgspec 0.22 learns a type at its first use and without a lock: two threads that do so at once (the watch and the
# first LIST, in an agent that starts with objects) end the process with SIGSEGV, about once in a hundred starts.
msgspec.json.Decoder(SubFunction)


def plain(status: Status) -> dict[str, Any]:
    """Give a status as the JSON of the API; fields without a value are left out."""
    built = msgspec.to_builtins(status)
    if not isinstance(built, dict):
        raise TypeError(f"a status became {built!r}")
    return built
