"""A network device in sysfs, found by the device it belongs to, never by parsing its name (udev renames it)."""

import dataclasses

from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import IFF_UP


@dataclasses.dataclass(frozen=True, slots=True)
class Netdev:
    """One network device of this network namespace.

    `path` is its directory in sysfs, resolved and relative to the root; `mtu` is in bytes. `up` is the administrative
    state (IFF_UP), not whether a cable is plugged in. `master` is the name of the bridge it is a port of.
    """

    name: str
    path: str
    ifindex: int
    mac: Mac | None
    mtu: int
    up: bool
    master: str | None = None

    @classmethod
    def named(cls, sysfs: Sysfs, name: str) -> "Netdev | None":
        """Read a device by name (`ip link show eth4`); None where this namespace has none."""
        path = sysfs.resolve(f"class/net/{name}")
        return None if path is None else cls._at(sysfs, path)

    @classmethod
    def under(cls, sysfs: Sysfs, device: str) -> "tuple[Netdev, ...]":
        """List the network devices under a device's directory; one in a pod's network namespace is not among them."""
        found = (sysfs.resolve(f"{device}/net/{name}") for name in sysfs.names(f"{device}/net"))
        return tuple(netdev for path in found if path and (netdev := cls._at(sysfs, path)))

    @classmethod
    def _at(cls, sysfs: Sysfs, path: str) -> "Netdev | None":
        ifindex, flags, mtu = (_integer(sysfs.read(f"{path}/{name}")) for name in ("ifindex", "flags", "mtu"))
        if ifindex is None or flags is None or mtu is None:
            return None  # it disappeared between two reads
        address = sysfs.read(f"{path}/address")
        return cls(
            name=path.rpartition("/")[2],
            path=path,
            ifindex=ifindex,
            # An InfiniBand link's address has 20 bytes, and we never set it.
            mac=Mac.parse(address) if address and len(address) == len("02:00:00:00:00:00") else None,
            mtu=mtu,
            up=bool(flags & IFF_UP),
            master=(sysfs.target(f"{path}/master") or "").rpartition("/")[2] or None,
        )


def find_parent(sysfs: Sysfs, name: str) -> Handle | None:
    """Find the PCI function that a netdev belongs to (`readlink /sys/class/net/enp5s0f0np0/device`), if any."""
    device = sysfs.resolve(f"class/net/{name}/device")
    if device is None or (sysfs.target(f"{device}/subsystem") or "").rpartition("/")[2] != "pci":
        return None
    return Handle("pci", device.rpartition("/")[2])


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None
