"""survey -> which flavours a parent can make, and what is missing for the others. Pure.

Only what holds for every sub-function of the parent: room, a number or a field that the driver refuses are said on the
object that meets them. A module that the kernel loads by itself once a device needs it (mlx5_ib, mlx5_vdpa) is no
obstacle.
"""

import dataclasses
from collections.abc import Iterable
from typing import Final

from subfunction.api import Flavour
from subfunction.api_node import LONGEST_MESSAGE, Possibility
from subfunction.errors import DriverNotLoaded
from subfunction.kernel.uapi import EswitchMode
from subfunction.reasons import Reason
from subfunction_operator.flavours import makers
from subfunction_operator.survey import Survey, SurveyedParent

_ROOM_BY_FIRMWARE: Final = "mlx5_core"
_VDPA: Final = frozenset({"vhost_vdpa", "virtio_vdpa"})
_VFIO: Final = frozenset({"mlx5_vfio_pci", "vfio-pci"})

_MOST_TELLING: Final = (
    Reason.NOT_SWITCHDEV,
    Reason.KERNEL_TOO_OLD,
    Reason.DRIVER_NOT_LOADED,
    Reason.NO_VIRTUAL_FUNCTION,
    Reason.UNSUPPORTED,
)
"""Of several obstacles the one that a person would remove first comes first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Obstacle:
    """What is missing, in a word and in a sentence with what to type next."""

    reason: Reason
    message: str


def potential(parent: SurveyedParent, survey: Survey) -> tuple[Possibility, ...]:
    """Judge every flavour of the API for one parent."""
    return tuple(_judged(flavour, parent, survey) for flavour in Flavour)


def most_telling(judged: Iterable[tuple[str, Possibility]]) -> Obstacle:
    """Give the first thing to remove where nothing is possible on any of these parents; there is at least one."""
    found = [(each.reason, f"{device}: {each.message}") for device, each in judged if each.reason is not None]
    return Obstacle(*min(found, key=lambda each: _MOST_TELLING.index(each[0])))


def _judged(flavour: Flavour, parent: SurveyedParent, survey: Survey) -> Possibility:
    if flavour is Flavour.VFIO:
        found = _of_vfio(parent, survey)
    else:
        found = _of_sub_function(flavour, parent)
        if found is None and flavour is Flavour.VIRTIO and not survey.drivers & _VDPA:
            found = _not_loaded("no driver takes vDPA devices: neither vhost_vdpa nor virtio_vdpa", "vhost_vdpa")
    if found is None:
        return Possibility(name=flavour, possible=True)
    return Possibility(name=flavour, possible=False, reason=found.reason, message=found.message[:LONGEST_MESSAGE])


def _of_sub_function(flavour: Flavour, parent: SurveyedParent) -> Obstacle | None:
    function, drivers = parent.function, makers(flavour)
    if drivers and function.driver not in drivers:
        wanted, on = " or ".join(sorted(drivers)), function.driver or "no driver"
        return Obstacle(Reason.UNSUPPORTED, f"flavour {flavour} needs a parent on {wanted}; this one is on {on}")
    if parent.uplink is None:
        why = "it has no physical port, and so no sub-functions: a virtual function has none"
        return Obstacle(Reason.UNSUPPORTED, why)
    if function.driver == _ROOM_BY_FIRMWARE and not parent.capacity:
        why = (
            "the kernel or the firmware has no sub-functions. The kernel needs CONFIG_MLX5_SF, the firmware "
            "PF_TOTAL_SF: `mlxconfig -d DEVICE set PER_PF_NUM_SF=1 PF_TOTAL_SF=...`."
        )
        return Obstacle(Reason.KERNEL_TOO_OLD, why)
    if parent.mode is None:
        return Obstacle(Reason.UNSUPPORTED, "it has no e-switch")
    if parent.mode is not EswitchMode.SWITCHDEV:
        why = (
            f"its e-switch is in {parent.mode.name.lower()} mode. Put it there with `devlink dev eswitch set "
            f"{function.handle} mode switchdev`; that ends every function of the card."
        )
        return Obstacle(Reason.NOT_SWITCHDEV, why)
    return None


def _of_vfio(parent: SurveyedParent, survey: Survey) -> Obstacle | None:
    if any(offered.capacity != 0 for offered in parent.types):
        return None
    if not parent.virtual_functions:
        why = (
            "it has no virtual functions and offers no mediated devices. Make some: "
            f"`echo 4 > /sys/bus/pci/devices/{parent.function.handle.device}/sriov_numvfs`."
        )
        return Obstacle(Reason.NO_VIRTUAL_FUNCTION, why)
    if all(function.group is None for function in parent.virtual_functions):
        why = (
            "its virtual functions are in no IOMMU group, and vfio takes none without. Switch the IOMMU on in the "
            "firmware and on the kernel's command line (`intel_iommu=on`)."
        )
        return Obstacle(Reason.UNSUPPORTED, why)
    if not survey.drivers & _VFIO:
        return _not_loaded("no vfio driver is there for its virtual functions", "vfio-pci")
    return None


def _not_loaded(message: str, module: str) -> Obstacle:
    error = DriverNotLoaded(message, module=module)
    return Obstacle(error.reason, str(error))
