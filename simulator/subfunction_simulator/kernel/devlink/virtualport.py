"""A pcivf port leads to a virtual function, as the e-switch knows it."""

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import FUNCTION_CAP_ROCE, Attribute, FunctionAttribute
from subfunction_simulator.kernel.netlink import uapi, wire

CAPABILITIES = (
    FUNCTION_CAP_ROCE | uapi.FUNCTION_CAP_MIGRATABLE | uapi.FUNCTION_CAP_IPSEC_CRYPTO | uapi.FUNCTION_CAP_IPSEC_PACKET
)


class VirtualPort:
    """The e-switch keeps a virtual function's address and capabilities; the function's driver has no say in them."""

    def __init__(self, index: int, *, managed: bool) -> None:
        self.index = index
        self.mac = Mac(bytes(6))
        self.managed = managed
        self.supported = CAPABILITIES if managed else 0
        self.capabilities = FUNCTION_CAP_ROCE
        self.max_io_eqs = 0

    def attributes(self) -> bytes:
        """Encode the nest PORT_FUNCTION."""
        parts = [wire.attribute(FunctionAttribute.HW_ADDR, self.mac.octets)]
        if self.supported:
            parts.append(wire.bits(FunctionAttribute.CAPS, self.capabilities, self.supported))
        return wire.nest(Attribute.PORT_FUNCTION, *parts)
