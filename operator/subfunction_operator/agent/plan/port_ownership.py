"""Decides whether a port that the kernel shows is ours: the one that a record or an object's status names. Pure.

Drivers reuse indexes and numbers, so neither proves anything by itself (`docs/decisions/2026-11-30-whose-port.md`).
"""

from subfunction.kernel.port import Port
from subfunction.state.claims import PortClaim
from subfunction.state.records import State
from subfunction_operator.agent.model.context import PlanContext


def is_ours(context: PlanContext, port: Port, claim: PortClaim) -> bool:
    """Return whether the port with our index and number is the one we made.

    It is ours if its representor is the recorded netdev, or its auxiliary device is the recorded one, or its address is
    one of ours. The address alone proves little: on a new port, mlx5 up to Linux 6.18 shows the address of the function
    that had the slot before.
    """
    desired, seen, record = context.desired, context.seen, context.seen.record
    if (port.index, port.number) != (claim.port_index, claim.number):
        return False
    if seen.made or (claim.representor is not None and port.ifindex == claim.representor):
        return True
    mac = port.function.mac if port.function else None
    if record is not None and record.state is State.DRAINING and mac is not None and mac.unset:
        return True  # its address was cleared already, and it is about to be deleted
    shown = desired.object.status.mac_address if desired.object else None
    if mac is None or str(mac) in {claim.mac_address, str(desired.mac), shown}:
        return True
    auxiliary = seen.auxiliary
    if auxiliary is not None and record is not None and record.witness.inodes.get(auxiliary.path) == auxiliary.inode:
        return True
    # A record of an older agent, or a driver without representors: nothing was published yet, and no tool uses it.
    unknown = claim.representor is None or port.ifindex is None
    return unknown and is_idle(port) and record is not None and not record.witness.inodes


def may_be_ours(context: PlanContext, port: Port, claim: PortClaim) -> bool:
    """Return whether a port with our number is the one that our record announced.

    The record is written while no port has the number, and before the request. If another tool makes a port with this
    number after that, the kernel refuses ours, and the refusal is recorded. We leave our own port idle until we know
    its index.
    """
    seen = context.seen
    if claim.refused or (seen.parent is not None and port.number in seen.parent.recorded):
        return False
    if seen.made or (seen.announced and is_idle(port)):
        return port.number == claim.number
    return is_idle(port) and port.function is not None and port.function.mac == context.desired.mac


def matches_status(context: PlanContext, port: Port) -> bool:
    """Return whether a port is the one in the object's status, with our MAC or the status's, and in no other record."""
    desired, parent = context.desired, context.seen.parent
    status = desired.object.status if desired.object else None
    if status is None or (status.parent, status.number) != (str(port.handle), port.number):
        return False
    mac = port.function.mac if port.function else None
    shown = mac is not None and str(mac) in {str(desired.mac), status.mac_address}
    return shown and (parent is None or port.number not in parent.recorded)


def is_idle(port: Port) -> bool:
    """Return whether a port's function is neither active nor attached: no driver has it."""
    return port.function is not None and not port.function.active and not port.function.attached
