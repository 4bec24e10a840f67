"""Defines the protocol that each flavour made as a sub-function implements, and its planning context. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

from subfunction.api.subfunction import Spec
from subfunction.kernel.address import Mac
from subfunction.kernel.parameter import ParameterValue
from subfunction.kernel.port import Port
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record
from subfunction_operator.agent.flavours.drivers import DriverProfile
from subfunction_operator.agent.model.context import PlanContext
from subfunction_operator.agent.model.decision import Decision
from subfunction_operator.agent.model.observation import Observation


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PortContext(PlanContext):
    """What is planned from once the port is known to be ours: the context with flavour, driver, record and port."""

    flavour: "FlavourPlugin"
    driver: DriverProfile
    record: Record
    claim: PortClaim
    port: Port

    @property
    def mac(self) -> Mac:
        """The address that the function should have; an adopted one keeps its own if its spec names none."""
        if self.claim.adopted and not self.wanted.spec.mac_address:
            return Mac.parse(self.claim.mac_address)
        return self.desired.mac


class FlavourPlugin(Protocol):
    """What differs between flavours; what differs between drivers is in `drivers.py`."""

    bus: str
    """The bus of the device that a pod uses: `auxiliary` or `vdpa`."""

    def parameters(self, spec: Spec) -> Mapping[str, ParameterValue]:
        """Return the driverinit parameters of the function's devlink instance, with the values they must have."""

    def missing_device(self, spec: Spec, seen: Observation) -> str:
        """Return in words which class device the spec asks for and is missing; empty when all exist.

        Raises:
            DriverNotLoaded: no driver in this kernel makes it.
        """

    def has_requested_devices(self, spec: Spec, seen: Observation) -> bool:
        """Return whether the class devices are those asked for, none missing and none too many."""

    def plan_bind(self, context: PortContext) -> Decision | None:
        """Plan the steps that bring the device onto `bus`; None once it is there.

        Raises:
            DriverNotLoaded: this kernel does not have the driver that the spec asks for.
        """

    def device_record(self, spec: Spec, seen: Observation, record: Record, devices: str) -> Record:
        """Return the record with all that a pod gets, and its witness; `devices` is the host's `/dev`."""
