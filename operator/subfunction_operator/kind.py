"""What differs between the flavours that are cut as sub-functions, as one protocol; and the one that is worked on."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from subfunction.api import Spec, SubFunction
from subfunction.claims import PortClaim
from subfunction.kernel.address import Mac
from subfunction.kernel.port import Port
from subfunction.records import Record
from subfunction_operator.decision import Decision
from subfunction_operator.observation import Desired, Memory, Observation


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One sub-function whose port is known to be its own."""

    desired: Desired
    wanted: SubFunction
    seen: Observation
    kind: "Kind"
    record: Record
    claim: PortClaim
    port: Port
    memory: Memory

    @property
    def mac(self) -> Mac:
        """The address it should have: an adopted one that is told none keeps its own."""
        if self.claim.adopted and not self.wanted.spec.mac_address:
            return Mac.parse(self.claim.mac_address)
        return self.desired.mac


class Kind(Protocol):
    """One flavour."""

    drivers: frozenset[str]
    """The parents' kernel drivers that can make it."""

    bus: str
    """The bus a finished one sits on."""

    modules: str
    """What to load where its drivers do not come up, for `modprobe`."""

    rate_unit: int
    """What a rate must be a multiple of, in bit/s."""

    def parameters(self, spec: Spec) -> Mapping[str, bool]:
        """Give the driverinit parameters of the function's instance, with the values they must have."""

    def missing(self, spec: Spec, seen: Observation) -> str:
        """Name the class device that is asked for and not there yet; empty when all are.

        Raises:
            DriverNotLoaded: nothing will bring it but a person.
        """

    def as_asked(self, spec: Spec, seen: Observation) -> bool:
        """Say whether the class devices are those asked for, none missing and none too many."""

    def placed(self, case: Case) -> Decision | None:
        """Give what is still to do until it is on the bus of its use; None where it is.

        Raises:
            DriverNotLoaded: the driver it is for is not in this kernel.
        """

    def offered(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Give the record with all that a pod is handed, and its witness; `devices` is where the host has `/dev`."""
