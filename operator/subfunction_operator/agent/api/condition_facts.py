"""Computes the facts that a sub-function's conditions report, for every flavour. Pure."""

import dataclasses

from subfunction.api.subfunction import Flavour, SubFunction
from subfunction.kernel.port import Port
from subfunction.state.claims import MediatedDeviceClaim, PortClaim, VirtualFunctionClaim
from subfunction_operator.agent.flavours.registry import FLAVOURS
from subfunction_operator.agent.model.observation import Observation


@dataclasses.dataclass(frozen=True, slots=True)
class ConditionFacts:
    """What is true of a sub-function; None where the condition does not exist for such a device.

    `port` is its own devlink port, never one that another tool has made in its place.
    """

    created: bool
    active: bool | None
    bound: bool
    connected: bool | None
    bus: str
    port: Port | None = None


def condition_facts(wanted: SubFunction, seen: Observation) -> ConditionFacts:
    """Return the facts of one sub-function, by what its record claims; without a record nothing counts as its own."""
    vfio = wanted.spec.vfio
    match seen.record.claim if seen.record else None:
        case PortClaim() as claim:
            return _port_facts(wanted, seen, claim)
        case VirtualFunctionClaim() as claim:
            function, port = seen.virtual_function, seen.port
            bound = function is not None and function.driver == claim.driver
            connected = None if port is None else seen.representor is not None
            return ConditionFacts(function is not None, None, bound, connected, "pci", port)
        case MediatedDeviceClaim():
            return ConditionFacts(seen.mediated is not None, None, seen.mediated is not None, None, "mdev")
        case None if wanted.spec.flavour is Flavour.VFIO:
            bus = "mdev" if vfio.mediated_device is not None else "pci"
            return ConditionFacts(created=False, active=None, bound=False, connected=None, bus=bus)
        case None:
            return ConditionFacts(created=False, active=False, bound=False, connected=False, bus="")


def _port_facts(wanted: SubFunction, seen: Observation, claim: PortClaim) -> ConditionFacts:
    # A port with our number but another index may be another tool's, and is not shown as ours.
    port = seen.port if seen.port is not None and claim.port_index == seen.port.index else None
    function = port.function if port else None
    active = function is not None and function.active and function.attached
    bound = active and seen.auxiliary is not None and seen.auxiliary.driver is not None
    if wanted.spec.flavour is Flavour.VIRTIO:
        device = seen.vdpa(claim.vdpa.name) if claim.vdpa else None
        bound = bound and device is not None and device.driver is not None
    connected = port is not None and seen.representor is not None
    bus = FLAVOURS[wanted.spec.flavour].bus if wanted.spec.flavour in FLAVOURS else ""
    return ConditionFacts(port is not None, active, bound, connected, bus, port)
