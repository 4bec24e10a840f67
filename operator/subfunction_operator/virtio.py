"""The flavour `virtio`: a vDPA device on a sub-function, for user space (vhost) or as a virtio netdev. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from subfunction.api import Spec, VirtioDriver
from subfunction.claims import VdpaClaim
from subfunction.errors import DriverNotLoaded, Foreign, UnsupportedField
from subfunction.kernel.address import Mac
from subfunction.kernel.vdpa import FEATURES, VdpaSettings, vdpa_name
from subfunction.reasons import Reason
from subfunction.records import Health, Record, Witness
from subfunction_operator.decision import Decision, Steps, Wait
from subfunction_operator.interruption import interrupted, lapsed, vacated
from subfunction_operator.kind import Case
from subfunction_operator.native import ENABLE_ETH, ENABLE_RDMA, link, nodes
from subfunction_operator.observation import Observation
from subfunction_operator.step import AddVdpa, OverrideDriver, ProbeDriver, Step, StoreRecord, UnbindDriver

ENABLE_VNET: Final = "enable_vnet"
_CHILD: Final = "vnet"
_MANAGEMENT_MODULE: Final = "mlx5_vdpa"
_DRIVERS: Final = {VirtioDriver.VHOST: "vhost_vdpa", VirtioDriver.VIRTIO: "virtio_vdpa"}
"""The names that drivers have on the vdpa bus: with underscores, whatever the ABI document says."""
_ALWAYS: Final = ("VERSION_1", "ACCESS_PLATFORM")
"""Features without which a vDPA device of mlx5 cannot be driven at all."""


class Virtio:
    """A sub-function of an mlx5 parent whose one use is the vDPA device on it."""

    drivers = frozenset({"mlx5_core"})
    bus = "vdpa"
    modules = "-a mlx5_core mlx5_vdpa vhost_vdpa virtio_vdpa"
    rate_unit = 1_000_000

    def parameters(self, spec: Spec) -> Mapping[str, bool]:
        """Want a management device, and neither netdev nor RDMA device beside it."""
        return {ENABLE_ETH: False, ENABLE_RDMA: False, ENABLE_VNET: True}

    def missing(self, spec: Spec, seen: Observation) -> str:
        """Look for the management device: the child `mlx5_core.vnet.N` with its driver.

        Raises:
            DriverNotLoaded: the child is there and nobody drives it.
        """
        child = seen.child(_CHILD)
        if child is None:
            return "vDPA management device"
        name, driver = child
        if driver is None:
            raise DriverNotLoaded(f"no driver makes a vDPA management device of {name}", module=_MANAGEMENT_MODULE)
        return ""

    def as_asked(self, spec: Spec, seen: Observation) -> bool:
        """Look for what the parameters would have made."""
        return seen.child(_CHILD) is not None and seen.rdma is None and seen.native is None and not seen.native_away

    def placed(self, case: Case) -> Decision | None:
        """Make the vDPA device and bind it to the driver of its use."""
        wanted, seen = _wanted(case), case.seen
        driver = _DRIVERS[case.wanted.spec.virtio.driver]
        if driver not in seen.drivers:
            raise DriverNotLoaded(f"no driver {driver} is on the vdpa bus of this node", module=driver)
        device = seen.vdpa(wanted.name)
        if device is None:
            return _instead(case) or _made(case, wanted)
        if case.claim.vdpa != wanted:
            return interrupted(seen, case.record, "its vDPA device", *vacated(seen))
        if device.driver is None and case.memory.probed:
            hint = f"See `dmesg | grep -e {device.name} -e vdpa`."
            return Wait(Reason.ATTACHING, f"{driver} has not taken {device.name} yet", kernel=True, hint=hint)
        if device.driver != driver:
            change: list[Step] = [OverrideDriver("vdpa", device.name, driver)]
            if device.driver is not None:
                change.append(UnbindDriver("vdpa", device.name, device.driver))
            return interrupted(seen, case.record, "its driver", *change, ProbeDriver("vdpa", device.name))
        if _user_end(case.wanted.spec, seen, wanted.name) is None:
            what = "device node" if driver == "vhost_vdpa" else "netdev"
            return Wait(Reason.ATTACHING, f"{device.name} is bound to {driver} and has no {what} yet", kernel=True)
        return None

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Hand out the vhost device, or the name of the virtio netdev."""
        claimed = getattr(record.claim, "vdpa", None)
        device = seen.vdpa(claimed.name) if isinstance(claimed, VdpaClaim) else None
        if device is None or seen.auxiliary is None or not isinstance(claimed, VdpaClaim):
            raise ValueError("a virtio sub-function without its vDPA device offers nothing")
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
            nodes=nodes(handed, devices),
            env=env,
            numa_node=seen.parent.function.numa_node if seen.parent else None,
            link=link(netdev) if netdev else record.link,
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


def _instead(case: Case) -> Decision | None:
    """Make room on a function that has another vDPA device already; mlx5 has room for one.

    Raises:
        Foreign: somebody else made it, and nobody said that it may go.
    """
    others = [device.name for device in case.seen.vdpas]
    if not others:
        return None
    if case.claim.adopted:
        return interrupted(case.seen, case.record, "its vDPA device", *vacated(case.seen))
    raise Foreign(
        f"somebody else made the vDPA device {' and '.join(others)} on {case.port.handle}/{case.port.index}",
        hint=f"Delete it with `vdpa dev del {others[0]}`; nobody may have it open then.",
    )


def _user_end(spec: Spec, seen: Observation, name: str) -> object | None:
    device = seen.vdpa(name)
    if spec.virtio.driver is VirtioDriver.VHOST:
        return device.vhost if device else None
    return seen.netdev or seen.away or None


def _made(case: Case, wanted: VdpaClaim) -> Decision:
    """Write down what it is made with, then make it: no file of sysfs tells it later."""
    auxiliary = case.seen.auxiliary
    if auxiliary is None:
        raise ValueError("a vDPA device needs the auxiliary device it is made on")
    if leave := lapsed(case.record):
        return Steps(leave)
    claim = msgspec.structs.replace(case.claim, vdpa=wanted)
    note = () if case.claim == claim else (StoreRecord(msgspec.structs.replace(case.record, claim=claim)),)
    settings = VdpaSettings(
        mac=Mac.parse(wanted.mac_address), mtu=wanted.mtu, queue_pairs=wanted.queue_pairs, features=wanted.features
    )
    return Steps((*note, AddVdpa(wanted.name, auxiliary.handle, settings)))


def _wanted(case: Case) -> VdpaClaim:
    """Say what the vDPA device is to be.

    Raises:
        UnsupportedField: a feature has a name that virtio-net does not know.
    """
    asked = case.wanted.spec.virtio
    unknown = [name for name in asked.features if name not in FEATURES]
    if unknown:
        raise UnsupportedField(
            f"virtio-net has no feature {' or '.join(unknown)}", hint=f"It has: {', '.join(sorted(FEATURES))}."
        )
    return VdpaClaim(
        name=vdpa_name(case.desired.uid),
        mac_address=str(case.mac),
        mtu=asked.mtu or case.wanted.spec.mtu,
        queue_pairs=asked.queue_pairs,
        features=sum(1 << FEATURES[name] for name in {*asked.features, *_ALWAYS}) if asked.features else None,
    )
