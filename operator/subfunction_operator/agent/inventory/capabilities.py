"""Judges which flavours a parent can make, and what is missing for the others. Pure.

It judges only what holds for every sub-function of the parent. No capacity left, or a number or field that the driver
refuses, is reported by the SubFunction concerned. A module that the kernel loads by itself once a device needs it
(mlx5_ib, mlx5_vdpa) does not count as missing.
"""

import dataclasses
from collections.abc import Iterable
from typing import Final

from subfunction.api.node import LONGEST_MESSAGE, FlavourCapability
from subfunction.api.reasons import Reason
from subfunction.api.subfunction import Flavour
from subfunction.errors import DriverNotLoaded
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.flavours.drivers import drivers_for, profile_of, vfio_drivers
from subfunction_operator.agent.flavours.virtio import VDPA_DRIVERS
from subfunction_operator.agent.inventory.discovery import DiscoveredNode, DiscoveredParent

_BLOCKER_ORDER: Final = (
    Reason.NOT_SWITCHDEV,
    Reason.KERNEL_TOO_OLD,
    Reason.KERNEL_WITHOUT_SUB_FUNCTIONS,
    Reason.DRIVER_NOT_LOADED,
    Reason.NO_VIRTUAL_FUNCTION,
    Reason.UNSUPPORTED,
)
"""The order in which a person would remove them; the first is reported. What a card refused comes before all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Blocker:
    """What is missing: a reason, and a message that ends with the command to run."""

    reason: Reason
    message: str


def capabilities(parent: DiscoveredParent, discovered: DiscoveredNode) -> tuple[FlavourCapability, ...]:
    """Judge every flavour of the API for one parent, in the API's order."""
    return tuple(_judge(flavour, parent, discovered) for flavour in Flavour)


def first_blocker(judged: Iterable[tuple[str, FlavourCapability]]) -> Blocker:
    """Return what to remove first, where no flavour is possible on any of these parents; `judged` is not empty."""
    found = [(each.reason, f"{device}: {each.message}") for device, each in judged if each.reason is not None]
    order = {reason: place for place, reason in enumerate(_BLOCKER_ORDER)}
    return Blocker(*min(found, key=lambda each: order.get(each[0], -1)))


def _judge(flavour: Flavour, parent: DiscoveredParent, discovered: DiscoveredNode) -> FlavourCapability:
    if flavour is Flavour.VFIO:
        found = _vfio_blocker(parent, discovered)
    else:
        found = _sub_function_blocker(flavour, parent)
        if found is None and flavour is Flavour.VIRTIO and not discovered.drivers & VDPA_DRIVERS:
            found = _driver_not_loaded("no driver takes vDPA devices: neither vhost_vdpa nor virtio_vdpa", "vhost_vdpa")
    if found is None:
        return FlavourCapability(name=flavour, possible=True, message=_possible_message(flavour, parent))
    return FlavourCapability(name=flavour, possible=False, reason=found.reason, message=found.message[:LONGEST_MESSAGE])


def _sub_function_blocker(flavour: Flavour, parent: DiscoveredParent) -> Blocker | None:
    function, drivers = parent.function, drivers_for(flavour)
    if drivers and function.driver not in drivers:
        wanted, on = " or ".join(sorted(drivers)), function.driver or "no driver"
        return Blocker(Reason.UNSUPPORTED, f"flavour {flavour} needs a parent on {wanted}; this one is on {on}")
    if parent.error is not None:
        return Blocker(parent.error.reason, str(parent.error))
    profile = profile_of(function.driver)
    if not parent.makes_ports:
        why = f"the kernel has no sub-functions for {function.driver}: it was built without {profile.kernel_option}"
        return Blocker(Reason.KERNEL_WITHOUT_SUB_FUNCTIONS, why)
    if parent.capacity == 0:
        return Blocker(Reason.KERNEL_TOO_OLD, f"the firmware has no sub-functions. {profile.firmware_hint}")
    if parent.mode is None:
        if parent.capacity and profile.eswitch_elsewhere:
            return Blocker(Reason.UNSUPPORTED, f"it has no e-switch of its own: {profile.eswitch_elsewhere}.")
        return Blocker(Reason.UNSUPPORTED, "it has no e-switch")
    if parent.mode is EswitchMode.UNKNOWN:
        return Blocker(Reason.UNSUPPORTED, "its e-switch is in a mode that this version does not know")
    if parent.mode is EswitchMode.LEGACY:
        if parent.stranded:
            why = f"its e-switch became legacy while it had sub-functions. {profile.stranded_hint}"
            return Blocker(Reason.NOT_SWITCHDEV, why)
        hint = profile.switchdev_hint.replace("HANDLE", str(function.handle))
        return Blocker(Reason.NOT_SWITCHDEV, f"its e-switch is in legacy mode. {hint}")
    return None


def _possible_message(flavour: Flavour, parent: DiscoveredParent) -> str:
    if flavour is Flavour.VFIO or parent.mode is not EswitchMode.SWITCHDEV_INACTIVE:
        return ""
    handle = parent.function.handle
    return (
        f"no frame passes until its e-switch is active: `devlink dev eswitch set {handle} mode switchdev`, which ends "
        "no function."
    )


def _vfio_blocker(parent: DiscoveredParent, discovered: DiscoveredNode) -> Blocker | None:
    if any(offered.capacity != 0 for offered in parent.types):
        return None
    if not parent.virtual_functions:
        why = (
            "it has no virtual functions and offers no mediated devices. Make some: "
            f"`echo 4 > /sys/bus/pci/devices/{parent.function.handle.device}/sriov_numvfs`."
        )
        return Blocker(Reason.NO_VIRTUAL_FUNCTION, why)
    if all(function.group is None for function in parent.virtual_functions):
        why = (
            "its virtual functions are in no IOMMU group, and vfio takes none without. Switch the IOMMU on in the "
            "firmware and on the kernel's command line (`intel_iommu=on`)."
        )
        return Blocker(Reason.UNSUPPORTED, why)
    if not discovered.drivers & vfio_drivers():
        return _driver_not_loaded("no vfio driver is there for its virtual functions", "vfio-pci")
    return None


def _driver_not_loaded(message: str, module: str) -> Blocker:
    error = DriverNotLoaded(message, module=module)
    return Blocker(error.reason, str(error))
