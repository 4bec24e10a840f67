"""plan(desired, observed): which steps come next. Pure: no I/O, no clock, no client.

One path for creation, restart, drift, reboot, change and deletion:

    claim.py            no record -> record -> port
    shape.py            port -> MAC, capabilities -> active -> attached -> enable_* set and reloaded if they differ
                          -> its class devices -> its bus (virtio.py) -> rate, MTU, representor (tuning.py)
                          -> record(ready)
    virtualfunction.py  record (functionclaim.py) -> MAC, capabilities -> its VFIO driver -> record(ready), and back
    mediated.py         record -> created -> record(ready), and removed
    removal.py          record(draining) -> free -> off its bus -> inactive -> detached -> no port -> no record
    papers.py           its CDI and device-info files: written before record(ready), removed before what it names goes

Each call gives the steps up to the next moment at which somebody must look again, or what is waited for, or rest.
"""

from subfunction.api import Flavour, SubFunction
from subfunction.errors import ParentNotFound, UnsupportedField
from subfunction_operator import claim, mediated, removal, shape, virtualfunction
from subfunction_operator.decision import Decision
from subfunction_operator.flavours import KINDS, makers
from subfunction_operator.kind import Case
from subfunction_operator.observation import Desired, Memory, Observation, Parent, Policy
from subfunction_operator.papers import accompanied

_FRESH = Memory()


def plan(desired: Desired, seen: Observation, policy: Policy, memory: Memory = _FRESH) -> Decision:
    """Give the next steps; `memory` is of this run alone.

    Raises:
        SubFunctionError: what is asked for cannot be had as things stand; nothing half-made is left to mend.
    """
    return accompanied(_planned(desired, seen, policy, memory), seen)


def _planned(desired: Desired, seen: Observation, policy: Policy, memory: Memory) -> Decision:
    wanted = desired.object
    if wanted is None or desired.deleting:
        return removal.away(desired, seen)
    _offerable(wanted, policy)
    parent = _parent(wanted, seen)
    if wanted.spec.vfio.virtual_function is not None:
        return virtualfunction.bound(desired, wanted, seen, parent, policy, memory)
    if wanted.spec.vfio.mediated_device is not None:
        return mediated.made(desired, wanted, seen, parent, policy)
    return _cut(desired, wanted, seen, parent, policy, memory)


def _cut(  # noqa: PLR0913, PLR0917  # all that a plan stands on
    desired: Desired, wanted: SubFunction, seen: Observation, parent: Parent, policy: Policy, memory: Memory
) -> Decision:
    kind, record, claimed = KINDS.get(wanted.spec.flavour), seen.record, seen.claim
    if kind is None:
        raise UnsupportedField(f"flavour {wanted.spec.flavour} names no function", hint="Set spec.vfio.")
    _fitting(wanted)
    if record is None or claimed is None or not seen.this_boot or claimed.port_index is None:
        return claim.claimed(desired, wanted, seen, parent, policy)
    if seen.port is None:
        return claim.recreated(record, claimed)
    if not claim.recognised(seen.port, desired, seen, claimed):
        # The port we made is gone, and this one has its number: ours made again, or somebody else's.
        return claim.claimed(desired, wanted, seen, parent, policy)
    return shape.shaped(Case(desired, wanted, seen, kind, record, claimed, seen.port, memory), policy)


def _offerable(wanted: SubFunction, policy: Policy) -> None:
    domain = wanted.spec.resource.partition("/")[0]
    if domain not in policy.domains:
        raise UnsupportedField(
            f"no resource of the domain {domain} is offered on this node",
            hint=f"Take one of {', '.join(policy.domains)}, or add it to resource-domains of agent and device plugin.",
        )


def _fitting(wanted: SubFunction) -> None:
    """Refuse what belongs to virtual functions, and what a flavour has no use for."""
    spec, capabilities = wanted.spec, wanted.spec.capabilities
    of_functions = {
        "spec.capabilities.migratable": capabilities.migratable,
        "spec.capabilities.ipsecCrypto": capabilities.ipsec_crypto,
        "spec.capabilities.ipsecPacket": capabilities.ipsec_packet,
    }
    unfit = [name for name, value in of_functions.items() if value is not None]
    if unfit:
        raise UnsupportedField(f"{', '.join(unfit)} is for virtual functions", hint="Leave it out of the spec.")
    if spec.flavour is Flavour.MLX5 and spec.mlx5.rdma and capabilities.roce is False:
        raise UnsupportedField(
            "a sub-function without RoCE has no RDMA device",
            hint="Set spec.mlx5.rdma to false, or capabilities.roce to true.",
        )


def _parent(wanted: SubFunction, seen: Observation) -> Parent:
    parent = seen.parent
    if parent is None:
        raise ParentNotFound(f"the parent {seen.handle} is not on this node", hint="See `devlink dev show` there.")
    driver, able = parent.function.driver, makers(wanted.spec.flavour)
    if able and driver not in able:
        raise ParentNotFound(
            f"{parent.function.handle} is driven by {driver or 'no driver'}, and flavour {wanted.spec.flavour} needs"
            f" {' or '.join(sorted(able))}",
            hint="See `devlink dev show`, and `lspci -k` for the drivers.",
        )
    return parent
