"""The two addresses of the kernel's objects: devlink handle and MAC."""

import dataclasses
import hashlib
import re
from typing import Self

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_LOCAL, _MULTICAST = 0x02, 0x01


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Handle:
    """The name of a devlink instance: bus and device (`pci/0000:05:00.0`, `auxiliary/mlx5_core.sf.4`)."""

    bus: str
    device: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `bus/device`.

        Raises:
            ValueError: `text` is no handle.
        """
        bus, slash, device = text.partition("/")
        if not (bus and slash and device) or "/" in device:
            raise ValueError(f"{text!r} is no devlink handle such as pci/0000:05:00.0")
        return cls(bus, device)

    def __str__(self) -> str:
        """Return the form that `devlink dev show` prints."""
        return f"{self.bus}/{self.device}"

    @property
    def path(self) -> str:
        """Return the path of the device's link in sysfs, relative to its root."""
        return f"bus/{self.bus}/devices/{self.device}"


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Mac:
    """An Ethernet address of six bytes."""

    octets: bytes

    def __post_init__(self) -> None:
        """Reject octets that are not six bytes long."""
        if len(self.octets) != 6:
            raise ValueError(f"{self.octets.hex(':')!r} has {len(self.octets)} bytes, an Ethernet address has 6")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `02:00:5e:10:00:01`, in either case.

        Raises:
            ValueError: `text` is no Ethernet address.
        """
        if not _MAC.fullmatch(text):
            raise ValueError(f"{text!r} is no Ethernet address such as 02:00:5e:10:00:01")
        return cls(bytes.fromhex(text.replace(":", "")))

    @classmethod
    def derived(cls, uid: str) -> Self:
        """Derive a locally administered unicast address from an object's uid; one uid always gives the same."""
        digest = hashlib.sha256(uid.encode()).digest()
        return cls(bytes([digest[0] & ~_MULTICAST | _LOCAL, *digest[1:6]]))

    def __str__(self) -> str:
        """Return the form that `ip link` prints."""
        return self.octets.hex(":")

    @property
    def unset(self) -> bool:
        """Return whether this is the all-zero address, which mlx5 reports until one is set."""
        return not any(self.octets)

    @property
    def unicast(self) -> bool:
        """Return whether the address may belong to an interface: not multicast, not all-zero."""
        return not self.octets[0] & _MULTICAST and not self.unset
