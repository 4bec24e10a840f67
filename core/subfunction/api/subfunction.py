"""The kind SubFunction, decoded and checked once when it is read, and frozen from then on.

The source of the schema is `crds/subfunctions.yaml`; this module has the fields that the programs read and write. It
repeats the defaults of the API server, which sets none inside a block that the object leaves out.
"""

import enum
from typing import Any, Final

import msgspec

from subfunction.api.conditions import ConditionedStatus

GROUP: Final = "subfunction.dev"
VERSION: Final = "v1alpha1"
PLURAL: Final = "subfunctions"
KIND: Final = "SubFunction"
FINALIZER: Final = f"{GROUP}/agent"


class Flavour(enum.StrEnum):
    """The flavour of a sub-function, which decides on which bus its device appears."""

    MLX5 = "mlx5"
    ICE = "ice"
    VIRTIO = "virtio"
    VFIO = "vfio"


class VirtioDriver(enum.StrEnum):
    """The driver of a vDPA device: for user space by a device node, or for the host's virtio stack as a netdev."""

    VHOST = "vhost-vdpa"
    VIRTIO = "virtio-vdpa"


class DeletionPolicy(enum.StrEnum):
    """The effect of the object's deletion on the sub-function."""

    DRAIN = "Drain"
    FORCE = "Force"
    RETAIN = "Retain"


class Phase(enum.StrEnum):
    """The phase of a sub-function's life, in one word."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    READY = "Ready"
    DRAINING = "Draining"
    RETURNING = "Returning"
    FAILED = "Failed"


class ParentSelector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The properties that a parent must have to be chosen; `vendor` is four hexadecimal digits."""

    driver: str | None = None
    vendor: str | None = None
    numa_node: int | None = None


class ParentSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The choice of the parent, a physical function; exactly one field is set."""

    device: str | None = None
    netdev: str | None = None
    selector: ParentSelector | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Capabilities of the function; None leaves the driver's default."""

    roce: bool | None = None
    max_io_event_queues: int | None = msgspec.field(name="maxIOEventQueues", default=None)
    migratable: bool | None = None
    ipsec_crypto: bool | None = None
    ipsec_packet: bool | None = None


class Rate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Limits of what the function sends, in bit/s."""

    share_bits_per_second: int | None = None
    max_bits_per_second: int | None = None


class Mlx5(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The class devices that a sub-function of an mlx5 parent has, and sizes of its driver; None leaves a size."""

    ethernet: bool = True
    rdma: bool = True
    io_eq_size: int | None = msgspec.field(name="ioEQSize", default=None)
    event_eq_size: int | None = msgspec.field(name="eventEQSize", default=None)
    max_macs: int | None = msgspec.field(name="maxMACs", default=None)


class Virtio(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Settings of a vDPA device; None and empty leave the NIC's default. `mtu` is in bytes."""

    driver: VirtioDriver = VirtioDriver.VHOST
    queue_pairs: int | None = None
    features: tuple[str, ...] = ()
    mtu: int | None = None


class Vfio(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The device to assign through VFIO: a virtual function by its index, or a mediated device by its type."""

    virtual_function: int | None = None
    mediated_device: str | None = None


class Representor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Settings of the representor, the sub-function's other end on the e-switch; `mtu` is in bytes."""

    admin_state: str = "up"
    mtu: int | None = None
    bridge: str | None = None


class TemplateSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The desired properties that do not tell one sub-function from another: the spec in a pool's template."""

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
    """The desired properties of one sub-function, those that identify it among them."""

    parent: ParentSpec
    node_name: str | None = None
    node_selector: dict[str, str] = {}
    number: int | None = None
    mac_address: str | None = None
    adopt: bool = False

    @property
    def resource(self) -> str:
        """Return the name of the extended resource that pods request."""
        return self.resource_name or f"{GROUP}/{self.flavour}"

    @property
    def deletion(self) -> DeletionPolicy:
        """Return the deletion policy, or where the spec has none its default: Retain if adopted, else Drain."""
        return self.deletion_policy or (DeletionPolicy.RETAIN if self.adopt else DeletionPolicy.DRAIN)


class Device(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The device of a sub-function, as the kubelet and the kernel name it."""

    id: str
    bus: str
    netdev: str | None = None
    rdma: str | None = None
    nodes: tuple[str, ...] = ()


class AllocatedTo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The pod that uses the device."""

    namespace: str
    name: str
    container: str | None = None


class Status(ConditionedStatus, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The state of a sub-function as its agent last saw it."""

    observed_generation: int = 0
    phase: str = ""
    parent: str | None = None
    number: int | None = None
    port: int | None = None
    mac_address: str | None = None
    device: Device | None = None
    representor: str | None = None
    numa_node: int | None = None
    allocated_to: AllocatedTo | None = None


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The identity of the object; `deletion_timestamp` is set once its deletion was requested."""

    name: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class SubFunction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sub-function on one node."""

    metadata: Metadata
    spec: Spec
    status: Status = Status()

    @classmethod
    def of(cls, body: Any) -> "SubFunction":
        """Parse an object of the API.

        Raises:
            msgspec.ValidationError: the object does not match the CRD; the message names the field.
        """
        return msgspec.convert(body, cls)

    @property
    def uid(self) -> str:
        """Return the uid, from which record, MAC and device names are derived."""
        return self.metadata.uid

    @property
    def name(self) -> str:
        """Return the object's name."""
        return self.metadata.name

    @property
    def version(self) -> str:
        """Return the resourceVersion."""
        return self.metadata.resource_version

    @property
    def deleting(self) -> bool:
        """Return whether its deletion was requested."""
        return self.metadata.deletion_timestamp is not None

    @property
    def has_finalizer(self) -> bool:
        """Return whether the object has the agent's finalizer."""
        return FINALIZER in self.metadata.finalizers


# msgspec 0.22 inspects a type at its first use and without a lock: two threads that do so at once (the watch and the
# first LIST, in an agent that starts with objects) end the process with SIGSEGV, about once in a hundred starts.
msgspec.json.Decoder(SubFunction)


def to_json(status: Status) -> dict[str, Any]:
    """Return a status as the JSON of the API; fields without a value are left out."""
    built = msgspec.to_builtins(status)
    if not isinstance(built, dict):
        raise TypeError(f"a status became {built!r}")
    return built
