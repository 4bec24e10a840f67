"""Plans flavour `virtio`: a vDPA device on a sub-function, for user space (vhost) or as a virtio netdev. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Spec, VirtioDriver
from subfunction.errors import DriverNotLoaded, Foreign, UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.bus.vdpa import FEATURES, VdpaSettings, derive_vdpa_name
from subfunction.kernel.parameter import ParameterValue
from subfunction.state.claims import VdpaClaim
from subfunction.state.records import Health, Record, Witness
from subfunction_operator.agent.flavours.auxiliary import ENABLE_ETH, ENABLE_RDMA, snapshot_link
from subfunction_operator.agent.flavours.flavour import PortContext
from subfunction_operator.agent.model.decision import Decision, Steps, Wait
from subfunction_operator.agent.model.observation import Observation
from subfunction_operator.agent.model.steps import AddVdpa, OverrideDriver, ProbeDriver, Step, StoreRecord, UnbindDriver
from subfunction_operator.agent.offer.publish import device_nodes
from subfunction_operator.agent.offer.withdraw import detach_vdpa_steps, plan_disruptive, reset_record_steps

ENABLE_VNET: Final = "enable_vnet"
_CHILD: Final = "vnet"
_MANAGEMENT_MODULE: Final = "mlx5_vdpa"
_DRIVERS: Final = {VirtioDriver.VHOST: "vhost_vdpa", VirtioDriver.VIRTIO: "virtio_vdpa"}
"""The drivers' names on the vdpa bus: with underscores, unlike in the ABI document."""
VDPA_DRIVERS: Final = frozenset(_DRIVERS.values())
"""The drivers of the vdpa bus that a vDPA device can be bound to."""

_ALWAYS: Final = ("VERSION_1", "ACCESS_PLATFORM")
"""Features without which no driver can use a vDPA device of mlx5."""


class Virtio:
    """A sub-function of an mlx5 parent that exists for the vDPA device on it."""

    bus = "vdpa"

    def parameters(self, spec: Spec) -> Mapping[str, ParameterValue]:
        """Return the parameters that make a vDPA management device, and neither netdev nor RDMA device."""
        return {ENABLE_ETH: False, ENABLE_RDMA: False, ENABLE_VNET: True}

    def missing_device(self, spec: Spec, seen: Observation) -> str:
        """Check the management device: the child `mlx5_core.vnet.N` with its driver.

        Raises:
            DriverNotLoaded: the child exists, and no driver is bound to it.
        """
        child = seen.child(_CHILD)
        if child is None:
            return "vDPA management device"
        name, driver = child
        if driver is None:
            raise DriverNotLoaded(f"no driver makes a vDPA management device of {name}", module=_MANAGEMENT_MODULE)
        return ""

    def has_requested_devices(self, spec: Spec, seen: Observation) -> bool:
        """Return whether there is a management device, and neither a netdev of its own nor an RDMA device."""
        return seen.child(_CHILD) is not None and seen.rdma is None and seen.native is None and not seen.native_away

    def plan_bind(self, context: PortContext) -> Decision | None:
        """Plan the vDPA device, bound to the driver that the spec asks for."""
        wanted, seen = _wanted_vdpa(context), context.seen
        driver = _DRIVERS[context.wanted.spec.virtio.driver]
        if driver not in seen.drivers:
            raise DriverNotLoaded(f"no driver {driver} is on the vdpa bus of this node", module=driver)
        device = seen.vdpa(wanted.name)
        if device is None:
            return _plan_replace(context) or _plan_create(context, wanted)
        if context.claim.vdpa != wanted:
            return plan_disruptive(seen, context.record, "its vDPA device", *detach_vdpa_steps(seen))
        if device.driver is None and context.memory.probed:
            hint = f"See `dmesg | grep -e {device.name} -e vdpa`."
            return Wait(Reason.ATTACHING, f"{driver} has not taken {device.name} yet", kernel=True, hint=hint)
        if device.driver != driver:
            change: list[Step] = [OverrideDriver("vdpa", device.name, driver)]
            if device.driver is not None:
                change.append(UnbindDriver("vdpa", device.name, device.driver))
            return plan_disruptive(seen, context.record, "its driver", *change, ProbeDriver("vdpa", device.name))
        if _user_end(context.wanted.spec, seen, wanted.name) is None:
            what = "device node" if driver == "vhost_vdpa" else "netdev"
            return Wait(Reason.ATTACHING, f"{device.name} is bound to {driver} and has no {what} yet", kernel=True)
        return None

    def device_record(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Add the device node of vhost, or the name of the virtio netdev.

        Raises:
            ValueError: the vDPA device was not observed.
        """
        claimed = getattr(record.claim, "vdpa", None)
        device = seen.vdpa(claimed.name) if isinstance(claimed, VdpaClaim) else None
        if device is None or seen.auxiliary is None or not isinstance(claimed, VdpaClaim):
            raise ValueError("a virtio sub-function without its vDPA device cannot be published")
        env = {"SUBFUNCTION_DEVICE": device.name, "SUBFUNCTION_MAC": claimed.mac_address}
        netdev = seen.netdev if spec.virtio.driver is VirtioDriver.VIRTIO else None
        vhost = device.vhost if spec.virtio.driver is VirtioDriver.VHOST else None
        if netdev is not None:
            env["SUBFUNCTION_NETDEV"] = netdev.name
        handed = (vhost,) if vhost is not None else ()
        return msgspec.structs.replace(
            record,
            device_id=device.name,
            health=Health(healthy=True),
            nodes=device_nodes(handed, devices),
            env=env,
            numa_node=seen.parent.function.numa_node if seen.parent else None,
            link=snapshot_link(netdev) if netdev else record.link,
            witness=Witness(
                inodes={
                    seen.auxiliary.path: seen.auxiliary.inode,
                    device.path: device.inode,
                    **({} if seen.virtio is None else {seen.virtio[0]: seen.virtio[1]}),
                    **{node.path: node.inode for node in handed},
                },
                links={f"{device.path}/driver": device.driver_link or ""},
                numbers={f"{node.path}/dev": node.number for node in handed},
            ),
        )


def _plan_replace(context: PortContext) -> Decision | None:
    """Plan the removal of another vDPA device from an adopted function; mlx5 has room for one.

    Raises:
        Foreign: another tool made it, and the sub-function is not adopted.
    """
    others = [device.name for device in context.seen.vdpas]
    if not others:
        return None
    if context.claim.adopted:
        return plan_disruptive(context.seen, context.record, "its vDPA device", *detach_vdpa_steps(context.seen))
    raise Foreign(
        f"another tool made the vDPA device {' and '.join(others)} on {context.port.handle}/{context.port.index}",
        hint=f"Delete it with `vdpa dev del {others[0]}`; no process may have it open then.",
    )


def _user_end(spec: Spec, seen: Observation, name: str) -> object | None:
    device = seen.vdpa(name)
    if spec.virtio.driver is VirtioDriver.VHOST:
        return device.vhost if device else None
    return seen.netdev or seen.netdev_away or None


def _plan_create(context: PortContext, wanted: VdpaClaim) -> Decision:
    """Plan the record of the settings, then the device: sysfs does not show them later.

    Raises:
        ValueError: the auxiliary device was not observed.
    """
    auxiliary = context.seen.auxiliary
    if auxiliary is None:
        raise ValueError("a vDPA device needs the auxiliary device it is made on")
    if reset := reset_record_steps(context.record):
        return Steps(reset)
    claim = msgspec.structs.replace(context.claim, vdpa=wanted)
    note = () if context.claim == claim else (StoreRecord(msgspec.structs.replace(context.record, claim=claim)),)
    settings = VdpaSettings(
        mac=Mac.parse(wanted.mac_address), mtu=wanted.mtu, queue_pairs=wanted.queue_pairs, features=wanted.features
    )
    return Steps((*note, AddVdpa(wanted.name, auxiliary.handle, settings)))


def _wanted_vdpa(context: PortContext) -> VdpaClaim:
    """Return the vDPA device that the spec asks for.

    Raises:
        UnsupportedField: virtio-net has no feature of a given name.
    """
    asked = context.wanted.spec.virtio
    unknown = [name for name in asked.features if name not in FEATURES]
    if unknown:
        raise UnsupportedField(
            f"virtio-net has no feature {' or '.join(unknown)}", hint=f"It has: {', '.join(sorted(FEATURES))}."
        )
    return VdpaClaim(
        name=derive_vdpa_name(context.desired.uid),
        mac_address=str(context.mac),
        mtu=asked.mtu or context.wanted.spec.mtu,
        queue_pairs=asked.queue_pairs,
        features=sum(1 << FEATURES[name] for name in {*asked.features, *_ALWAYS}) if asked.features else None,
    )
