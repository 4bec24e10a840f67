"""The observer's input: which sub-function to observe, and how thoroughly."""

import dataclasses
from collections.abc import Mapping

from subfunction.api.subfunction import Spec
from subfunction.kernel.address import Handle
from subfunction_operator.agent.model.observation import Desired


@dataclasses.dataclass(frozen=True, slots=True)
class Reserved:
    """What other objects have or ask for on a parent.

    `numbers` are the numbers that they have or ask for, `shown` those in their statuses, with the objects' names.
    `devices` are the device ids in their statuses, with the objects' names: a virtual function has no number.
    """

    numbers: frozenset[int] = frozenset()
    shown: Mapping[int, str] = dataclasses.field(default_factory=dict)
    devices: Mapping[str, str] = dataclasses.field(default_factory=dict)


_NONE = Reserved()


@dataclasses.dataclass(frozen=True, slots=True)
class ObserveRequest:
    """What to observe, and what the run knows already.

    `reserved` are the numbers of other objects; `index` is that of the port that this run made, which the record may
    not have yet. `refresh`: ask the kubelet which pod uses the device. `find_blocker`: find out what the function
    waits for before it attaches.
    """

    desired: Desired
    parent: Handle
    reserved: Reserved = _NONE
    index: int | None = None
    refresh: bool = False
    find_blocker: bool = False

    @property
    def spec(self) -> Spec | None:
        """The object's spec, None where there is no object."""
        return self.desired.object.spec if self.desired.object else None

    def status_names(self, device_id: str) -> bool:
        """Return whether the object's own status names a device."""
        wanted = self.desired.object
        return wanted is not None and wanted.status.device is not None and wanted.status.device.id == device_id

    @property
    def bridge(self) -> str | None:
        """The bridge that the representor should be in."""
        return self.spec.representor.bridge if self.spec else None
