"""plan(desired, observed): which steps come next. Pure: no I/O, no clock, no client.

One path for creation, restart, drift, reboot, change and deletion:

    claim.py    no record -> record -> port
    shape.py    port -> MAC, capabilities -> active -> attached -> enable_* read, set and reloaded if they differ
                  -> its class devices -> representor -> record(ready)
    removal.py  record(draining) -> free -> inactive -> detached -> no port -> no record

Each call gives the steps up to the next moment at which somebody must look again, or what is waited for, or rest.
"""

from subfunction.api import SubFunction
from subfunction.errors import ParentNotFound, UnsupportedField
from subfunction_operator import claim, removal, shape
from subfunction_operator.flavours import KINDS, Kind
from subfunction_operator.observation import Desired, Memory, Observation, Parent, Policy
from subfunction_operator.step import Decision

_FRESH = Memory()


def plan(desired: Desired, seen: Observation, policy: Policy, memory: Memory = _FRESH) -> Decision:
    """Give the next steps; `memory` is of this run alone.

    Raises:
        SubFunctionError: what is asked for cannot be had as things stand; nothing half-made is left to mend.
    """
    wanted = desired.object
    if wanted is None or desired.deleting:
        return removal.away(desired, seen)
    kind = _kind(wanted, policy)
    parent = _parent(wanted, kind, seen)
    record = seen.record
    if record is None or not seen.this_boot or record.claim.port_index is None:
        return claim.claimed(desired, wanted, seen, parent, policy)
    if seen.port is None:
        return claim.recreated(record)
    if seen.port.index != record.claim.port_index:
        # The port we made is gone, and this one has its number: ours made again, or somebody else's.
        return claim.claimed(desired, wanted, seen, parent, policy)
    case = shape.Case(desired, wanted, seen, kind, record, seen.port, memory)
    return shape.shaped(case, policy)


def _kind(wanted: SubFunction, policy: Policy) -> Kind:
    kind = KINDS.get(wanted.spec.flavour)
    if kind is None:
        made = ", ".join(KINDS)
        raise UnsupportedField(
            f"flavour {wanted.spec.flavour} cannot be made by this version", hint=f"It makes: {made}."
        )
    domain = wanted.spec.resource.partition("/")[0]
    if domain not in policy.domains:
        raise UnsupportedField(
            f"no resource of the domain {domain} is offered on this node",
            hint=f"Take one of {', '.join(policy.domains)}, or add it to resource-domains of agent and device plugin.",
        )
    unset = [name for name, given in _not_yet(wanted) if given]
    if unset:
        raise UnsupportedField(f"this version cannot set {', '.join(unset)}", hint="Leave it out of the spec.")
    return kind


def _not_yet(wanted: SubFunction) -> list[tuple[str, bool]]:
    spec = wanted.spec
    capabilities = spec.capabilities
    return [
        ("spec.mtu", spec.mtu is not None),
        ("spec.rate", spec.rate != type(spec.rate)()),
        ("spec.adopt", spec.adopt),
        ("spec.representor.mtu", spec.representor.mtu is not None),
        ("spec.representor.bridge", spec.representor.bridge is not None),
        ("spec.capabilities.migratable", capabilities.migratable is not None),
        ("spec.capabilities.ipsecCrypto", capabilities.ipsec_crypto is not None),
        ("spec.capabilities.ipsecPacket", capabilities.ipsec_packet is not None),
    ]


def _parent(wanted: SubFunction, kind: Kind, seen: Observation) -> Parent:
    parent = seen.parent
    if parent is None:
        raise ParentNotFound(f"the parent {seen.handle} is not on this node", hint="See `devlink dev show` there.")
    driver = parent.function.driver
    if driver not in kind.drivers:
        raise ParentNotFound(
            f"{parent.function.handle} is driven by {driver or 'no driver'}, and flavour {wanted.spec.flavour} needs"
            f" {' or '.join(sorted(kind.drivers))}",
            hint="See `devlink dev show`, and `lspci -k` for the drivers.",
        )
    return parent
