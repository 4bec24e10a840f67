"""What a record claims: which function of the kernel it speaks of, by what survives a reboot.

The agent alone reads and writes these; the device plugin never does: what it needs stands beside, in the record.
"""

from typing import TypeAlias

import msgspec

from subfunction.kernel.address import Handle, Mac


class PortClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="port"):
    """A sub-function: it survives a reboot as (parent, controller, pf, number).

    `parent` is a devlink handle (`pci/0000:05:00.0`), `pf` the parent's own port number, `number` the sfnum;
    `port_index` is opaque and None until the kernel has answered. `adopted` says that somebody else made it, `rated`
    that we have limited its rate. `vdpa` is what its vDPA device was asked to be: no file of sysfs tells it.
    """

    flavour: str
    parent: str
    controller: int = 0
    pf: int
    number: int
    port_index: int | None = None
    mac_address: str
    adopted: bool = False
    rated: bool = False
    vdpa: "VdpaClaim | None" = None

    def __post_init__(self) -> None:
        """Refuse a parent that is no handle and an address that is no MAC, so that such a record is unreadable."""
        Handle.parse(self.parent)
        Mac.parse(self.mac_address)


class VdpaClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a vDPA device is made with; None leaves the NIC's default, `features` are the bits of virtio-net."""

    name: str
    mac_address: str
    mtu: int | None = None
    queue_pairs: int | None = None
    features: int | None = None


class FunctionClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a virtual function and its representor were when it was found; None where that was not to be seen.

    `representor_mtu` is in bytes; `representor_master` is the bridge it was in, empty where it was in none.
    """

    mac_address: str | None = None
    roce: bool | None = None
    migratable: bool | None = None
    ipsec_crypto: bool | None = None
    ipsec_packet: bool | None = None
    max_io_event_queues: int | None = None
    representor_up: bool | None = None
    representor_mtu: int | None = None
    representor_master: str | None = None


class VirtualFunctionClaim(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="virtualFunction"
):
    """A virtual function that somebody else made: its PCI address, its driver, and how it was, which it is again.

    `driver` is chosen once. `adopted` says that somebody else had given it to VFIO already, `recovered` that the record
    of how it was is lost, so that no `previous_driver` means none that is known.
    """

    parent: str
    index: int
    address: str
    driver: str
    previous_driver: str | None = None
    previous: FunctionClaim = FunctionClaim()
    adopted: bool = False
    recovered: bool = False

    def __post_init__(self) -> None:
        """Refuse a parent that is no handle."""
        Handle.parse(self.parent)

    @property
    def flavour(self) -> str:
        """The flavour it is of."""
        return "vfio"


class MediatedDeviceClaim(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="mediatedDevice"
):
    """A mediated device: its parent, its type, and the UUID that is derived from the object's uid."""

    parent: str
    type: str
    uuid: str

    def __post_init__(self) -> None:
        """Refuse a parent that is no handle."""
        Handle.parse(self.parent)

    @property
    def flavour(self) -> str:
        """The flavour it is of."""
        return "vfio"


Claim: TypeAlias = PortClaim | VirtualFunctionClaim | MediatedDeviceClaim
