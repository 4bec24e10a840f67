"""A network device: what is known of it, wherever it is."""

import dataclasses
from typing import TYPE_CHECKING

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import IFF_UP
from subfunction_simulator.kernel.uapi import IFF_BROADCAST, IFF_MULTICAST

if TYPE_CHECKING:
    from subfunction_simulator.kernel.instance import Port

DOWN = IFF_BROADCAST | IFF_MULTICAST


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What a driver says of a device: without a name it is the first free `ethN`, without an address a random one."""

    name: str | None = None
    mac: Mac | None = None
    mtu: int = 1500
    phys_port_name: str | None = None
    switch_id: str | None = None
    kind: str | None = None


@dataclasses.dataclass(slots=True, eq=False)
class Netdev:
    """One network device; `parent` is the sysfs path of its device, `namespace` None at home."""

    name: str
    ifindex: int
    parent: str
    mac: Mac
    port: "Port | None" = None
    phys_port_name: str | None = None
    switch_id: str | None = None
    kind: str | None = None
    """What software it is (`bridge`); None for a driver's."""
    mtu: int = 1500
    flags: int = DOWN
    namespace: str | None = None
    master: "Netdev | None" = None
    lowest_mtu: int = 68
    highest_mtu: int = 9978

    @property
    def path(self) -> str:
        """Its directory."""
        return f"{self.parent}/net/{self.name}"

    @property
    def up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & IFF_UP)
