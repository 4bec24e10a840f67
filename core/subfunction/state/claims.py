"""The claim in a record: which function of the kernel it is about, identified by what survives a reboot.

Only the agent reads and writes claims; what the device plugin needs is in the other fields of the record.
"""

from typing import TypeAlias

import msgspec

from subfunction.kernel.address import Handle, Mac


class PortClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="port"):
    """A sub-function with a port, identified across reboots by (parent, controller, number).

    `parent` is a devlink handle (`pci/0000:05:00.0`), `number` the sfnum. `port_index` is opaque. It is None until the
    kernel has answered the request for the port; until then an idle port of that number is the one that our request
    made. `refused` is set where the kernel refused the request, so that a port of that number is not ours. `pf` is the
    pfnum that the port shows. `representor` is the ifindex of its representor, which Linux gives to one netdev only: a
    port that was made anew has another one. `adopted` is set where another tool made the port, `rated` where we have
    limited its rate. `vdpa` has the settings that its vDPA device was made with: no file of sysfs shows them.
    `unapplied` is set from before sizes of its driver are set (`io_eq_size`) until a reload has applied them: the
    kernel does not show whether one has.
    """

    flavour: str
    parent: str
    controller: int = 0
    number: int
    pf: int | None = None
    port_index: int | None = None
    representor: int | None = None
    refused: bool = False
    mac_address: str
    adopted: bool = False
    rated: bool = False
    vdpa: "VdpaClaim | None" = None
    unapplied: bool = False

    def __post_init__(self) -> None:
        """Reject a parent that is no handle and an address that is no MAC, so that such a record is unreadable."""
        Handle.parse(self.parent)
        Mac.parse(self.mac_address)


class VdpaClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The settings a vDPA device is made with; None leaves the NIC's default, `features` are the bits of virtio-net."""

    name: str
    mac_address: str
    mtu: int | None = None
    queue_pairs: int | None = None
    features: int | None = None


class FunctionClaim(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The settings of a virtual function and its representor before we changed them; None where they are unknown.

    `representor_mtu` is in bytes; `representor_master` is the name of the bridge it was a port of, empty for none.
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
    """A virtual function, which another tool made: its PCI address, its driver, and the settings to restore at the end.

    `driver` is chosen once. `adopted` is set where another tool had bound it to VFIO already. `recovered` is set where
    the record of the earlier settings is lost: then no `previous_driver` means that the driver is unknown.
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
        """Reject a parent that is no handle."""
        Handle.parse(self.parent)

    @property
    def flavour(self) -> str:
        """Return the flavour."""
        return "vfio"


class MediatedDeviceClaim(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="kind", tag="mediatedDevice"
):
    """A mediated device: its parent, its type, and the UUID, which is derived from the object's uid."""

    parent: str
    type: str
    uuid: str

    def __post_init__(self) -> None:
        """Reject a parent that is no handle."""
        Handle.parse(self.parent)

    @property
    def flavour(self) -> str:
        """Return the flavour."""
        return "vfio"


Claim: TypeAlias = PortClaim | VirtualFunctionClaim | MediatedDeviceClaim
