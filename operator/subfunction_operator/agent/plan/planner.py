"""Plans the next steps of one sub-function. Pure: no I/O, no clock, no client.

One path for creation, restart, drift, reboot, change and deletion:

    identity.py          no record -> record -> port (is it ours: port_ownership.py)
    configure.py         port -> MAC, capabilities -> active -> attached -> enable_* and sizes set and reloaded if they
                           differ (parameters.py) -> its class devices -> its bus (flavours/virtio.py) -> rate, MTU,
                           representor (flavours/links.py) -> record(ready)
    delete.py            record(draining) -> not in use -> off its bus -> inactive -> detached -> no port -> no record

In other rooms:

    flavours/virtual_function.py  record (flavours/vf_ownership.py) -> MAC, capabilities -> its VFIO driver
                                    -> record(ready), and back
    flavours/mediated_device.py   record -> created -> record(ready), and removed
    offer/publish.py              what record(ready) has; offer/withdraw.py: how a device stops being allocatable
    offer/artifacts.py            CDI and device-info files: written before record(ready), removed before the device
                                    they name

A call returns the steps up to the next moment at which the kernel must be observed again, or a wait, or that
everything is settled.
"""

from subfunction.api.subfunction import SubFunction
from subfunction.errors import ParentNotFound, UnsupportedField
from subfunction_operator.agent.flavours import mediated_device, virtual_function
from subfunction_operator.agent.flavours.drivers import DriverProfile, drivers_for, profile_of
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.flavours.registry import FLAVOURS
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision
from subfunction_operator.agent.offer.artifacts import with_artifact_steps
from subfunction_operator.agent.plan import configure, delete, identity
from subfunction_operator.agent.plan.port_ownership import is_ours


def plan(context: PlanContext) -> Decision:
    """Plan the next steps for one sub-function.

    Raises:
        SubFunctionError: the spec cannot be met as things are; no step was planned.
    """
    return with_artifact_steps(_plan(context), context.seen)


def _plan(context: PlanContext) -> Decision:
    if context.desired.object is None or context.desired.deleting:
        return delete.plan_delete(context)
    wanted = context.wanted
    _require_domain(context)
    # Raises while the PF or its driver is away; the record stays, unhealthy. So plan_recreate comes only afterwards.
    _require_driver(context)
    if wanted.spec.vfio.virtual_function is not None:
        return virtual_function.plan_bind_vf(context)
    if wanted.spec.vfio.mediated_device is not None:
        return mediated_device.plan_create_mdev(context)
    return _plan_sub_function(context)


def _plan_sub_function(context: PlanContext) -> Decision:
    seen, wanted = context.seen, context.wanted
    flavour, record, claim = FLAVOURS.get(wanted.spec.flavour), seen.record, seen.claim
    if flavour is None:
        raise UnsupportedField(f"flavour {wanted.spec.flavour} names no function", hint="Set spec.vfio.")
    _require_capabilities(wanted, profile_of(context.parent.function.driver))
    identity.require_represented(context.parent)
    if record is None or claim is None or not seen.this_boot or claim.port_index is None:
        return identity.plan_identity(context)
    if seen.port is None:
        return identity.plan_recreate(context, record, claim)
    if not is_ours(context, seen.port, claim):
        # The port we made is gone, and this one has its number: we made it again, or another tool did.
        return identity.plan_identity(context)
    return configure.plan_configure(
        PortContext(
            desired=context.desired,
            seen=seen,
            policy=context.policy,
            memory=context.memory,
            flavour=flavour,
            driver=profile_of(context.parent.function.driver),
            record=record,
            claim=claim,
            port=seen.port,
        )
    )


def _require_domain(context: PlanContext) -> None:
    domain, domains = context.wanted.spec.resource.partition("/")[0], context.policy.domains
    if domain not in domains:
        raise UnsupportedField(
            f"no resource of the domain {domain} is offered on this node",
            hint=f"Take one of {', '.join(domains)}, or add it to resource-domains of agent and device plugin.",
        )


def _require_driver(context: PlanContext) -> None:
    function, flavour = context.parent.function, context.wanted.spec.flavour
    able = drivers_for(flavour)
    if able and function.driver not in able:
        raise ParentNotFound(
            f"{function.handle} is driven by {function.driver or 'no driver'}, and flavour {flavour} needs"
            f" {' or '.join(sorted(able))}",
            hint="See `devlink dev show`, and `lspci -k` for the drivers.",
        )


def _require_capabilities(wanted: SubFunction, driver: DriverProfile) -> None:
    """Check that the spec asks for no capability that the driver sets on no sub-function, before there is a port.

    Raises:
        UnsupportedField: it does.
    """
    capabilities = wanted.spec.capabilities
    of_drivers = {
        "spec.capabilities.roce": capabilities.roce,
        "spec.capabilities.maxIOEventQueues": capabilities.max_io_event_queues,
    }
    unset = [name for name, value in of_drivers.items() if value is not None]
    if unset and not driver.capabilities:
        raise UnsupportedField(f"{driver.name} sets no {' and no '.join(unset)}", hint="Leave it out of the spec.")
    of_functions = {
        "spec.capabilities.migratable": capabilities.migratable,
        "spec.capabilities.ipsecCrypto": capabilities.ipsec_crypto,
        "spec.capabilities.ipsecPacket": capabilities.ipsec_packet,
    }
    unfit = [name for name, value in of_functions.items() if value is not None]
    if unfit:
        raise UnsupportedField(f"{', '.join(unfit)} is for virtual functions", hint="Leave it out of the spec.")
