"""How far a sub-function has come, as its conditions say it, whatever it is. Pure."""

import dataclasses

from subfunction.api import Flavour, SubFunction
from subfunction.claims import MediatedDeviceClaim, PortClaim, VirtualFunctionClaim
from subfunction.kernel.port import Port
from subfunction_operator.flavours import BUSES
from subfunction_operator.observation import Observation


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """What is true of it; None is what such a device does not have.

    `port` is its own devlink port, never one that somebody else has made in its place.
    """

    created: bool
    active: bool | None
    bound: bool
    connected: bool | None
    bus: str
    port: Port | None = None


def standing(wanted: SubFunction, seen: Observation) -> Standing:
    """Say how far it is, by its record; without one nothing is known to be its own."""
    vfio = wanted.spec.vfio
    match seen.record.claim if seen.record else None:
        case PortClaim() as claim:
            return _sub_function(wanted, seen, claim)
        case VirtualFunctionClaim() as claim:
            function, port = seen.virtual_function, seen.port
            bound = function is not None and function.driver == claim.driver
            connected = None if port is None else seen.representor is not None
            return Standing(function is not None, None, bound, connected, "pci", port)
        case MediatedDeviceClaim():
            return Standing(seen.mediated is not None, None, seen.mediated is not None, None, "mdev")
        case None if wanted.spec.flavour is Flavour.VFIO:
            bus = "mdev" if vfio.mediated_device is not None else "pci"
            return Standing(created=False, active=None, bound=False, connected=None, bus=bus)
        case None:
            return Standing(created=False, active=False, bound=False, connected=False, bus="")


def _sub_function(wanted: SubFunction, seen: Observation, claim: PortClaim) -> Standing:
    # A port that stands where ours should may be somebody else's, and is not shown as ours.
    port = seen.port if seen.port is not None and claim.port_index == seen.port.index else None
    function = port.function if port else None
    active = function is not None and function.active and function.attached
    bound = active and seen.auxiliary is not None and seen.auxiliary.driver is not None
    if wanted.spec.flavour is Flavour.VIRTIO:
        device = seen.vdpa(claim.vdpa.name) if claim.vdpa else None
        bound = bound and device is not None and device.driver is not None
    connected = port is not None and seen.representor is not None
    return Standing(port is not None, active, bound, connected, BUSES.get(wanted.spec.flavour, ""), port)
