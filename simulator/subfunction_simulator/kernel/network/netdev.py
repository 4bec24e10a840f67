"""A network device is known in every namespace."""

import dataclasses
from typing import Protocol

from subfunction.kernel.address import Mac
from subfunction.kernel.uapi import IFF_UP
from subfunction_simulator.kernel.netlink.uapi import IFF_BROADCAST, IFF_MULTICAST

DOWN = IFF_BROADCAST | IFF_MULTICAST


class ShowingPort(Protocol):
    """A devlink port shows its netdev, and says so anew when the netdev changes."""

    def tell(self) -> None:
        """Notify that the port has changed."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """A driver says this of a device: without a name it is the first free `ethN`, without an address a random one."""

    name: str | None = None
    mac: Mac | None = None
    mtu: int = 1500
    phys_port_name: str | None = None
    switch_id: str | None = None
    kind: str | None = None
    keeps_address: bool = False
    keeps_namespace: bool = False
    highest_mtu: int = 9978


@dataclasses.dataclass(slots=True, eq=False)
class Netdev:
    """A network device stands below `parent`, a sysfs path; its `namespace` is None at home."""

    name: str
    ifindex: int
    parent: str
    mac: Mac
    port: ShowingPort | None = None
    phys_port_name: str | None = None
    switch_id: str | None = None
    kind: str | None = None
    """What software it is (`bridge`); None for a driver's."""
    keeps_address: bool = False
    """Whether its driver can set no address."""
    keeps_namespace: bool = False
    """Whether its driver keeps it in its network namespace."""
    mtu: int = 1500
    flags: int = DOWN
    namespace: str | None = None
    master: "Netdev | None" = None
    alternative_names: tuple[str, ...] = ()
    """Further names, which sysfs does not show."""
    lowest_mtu: int = 68
    highest_mtu: int = 9978

    def is_named(self, name: str | None) -> bool:
        """Say whether this is one of its names."""
        return name is not None and name in {self.name, *self.alternative_names}

    @property
    def path(self) -> str:
        """Give its directory."""
        return f"{self.parent}/net/{self.name}"

    @property
    def up(self) -> bool:
        """Say whether it is administratively up."""
        return bool(self.flags & IFF_UP)
