"""What is looked for, when a sub-function is looked at."""

import dataclasses
from collections.abc import Mapping

from subfunction.api import Spec
from subfunction.kernel.address import Handle
from subfunction_operator.observation import Desired


@dataclasses.dataclass(frozen=True, slots=True)
class Others:
    """The numbers that other objects have or ask for, and those that they show to have, with their names.

    `devices` names by its id who shows to have a device: a virtual function has no number to be known by.
    """

    numbers: frozenset[int] = frozenset()
    shown: Mapping[int, str] = dataclasses.field(default_factory=dict)
    devices: Mapping[str, str] = dataclasses.field(default_factory=dict)


_NOBODY = Others()


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What is looked for, and what the run knows of it already.

    `reserved` are the numbers of other objects; `index` is the port that was made a moment ago, and that the record
    may not name yet; `ask` has the kubelet asked who holds the device.
    """

    desired: Desired
    parent: Handle
    reserved: Others = _NOBODY
    index: int | None = None
    ask: bool = False

    @property
    def spec(self) -> Spec | None:
        """What is asked for, where anything is."""
        return self.desired.object.spec if self.desired.object else None

    def shows(self, device_id: str) -> bool:
        """Say whether the object's own status names a device."""
        wanted = self.desired.object
        return wanted is not None and wanted.status.device is not None and wanted.status.device.id == device_id

    @property
    def bridge(self) -> str | None:
        """The bridge that the representor should be in."""
        return self.spec.representor.bridge if self.spec else None
