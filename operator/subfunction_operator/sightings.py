"""Which sub-function is meant when the kernel speaks of a port, an instance, a directory of sysfs or a link."""

import dataclasses

from subfunction_operator.observation import Observation


@dataclasses.dataclass(slots=True)
class Sightings:
    """What was last seen of each sub-function, by the names that the kernel's announcements use."""

    _devices: dict[str, str] = dataclasses.field(default_factory=dict)
    _paths: dict[str, str] = dataclasses.field(default_factory=dict)
    _links: dict[int, str] = dataclasses.field(default_factory=dict)

    def remember(self, uid: str, seen: Observation) -> None:
        """Take note of all that is seen of it; what it no longer has stays known until something else has it."""
        if seen.port is not None:
            self._devices[f"{seen.port.handle}/{seen.port.index}"] = uid
        instances = (seen.auxiliary.handle,) if seen.auxiliary else ()
        for instance in (*instances, *seen.child_handles):
            self._devices[str(instance)] = uid
        for device in (seen.auxiliary, seen.virtual_function, seen.mediated):
            if device is not None:
                self._paths[device.path] = uid
        for link in (seen.netdev, seen.representor):
            if link is not None:
                self._links[link.ifindex] = uid

    def forget(self, uid: str) -> None:
        """Know nothing of it any more."""
        self._devices = {device: owner for device, owner in self._devices.items() if owner != uid}
        self._paths = {path: owner for path, owner in self._paths.items() if owner != uid}
        self._links = {ifindex: owner for ifindex, owner in self._links.items() if owner != uid}

    def of_device(self, device: str) -> str | None:
        """Say whose a port (`pci/0000:05:00.0/32768`) or an instance (`auxiliary/mlx5_core.sf.4`) is."""
        return self._devices.get(device)

    def of_link(self, ifindex: int) -> str | None:
        """Say whose a netdev or a representor is."""
        return self._links.get(ifindex)

    def of_path(self, path: str) -> str | None:
        """Say in whose directory of sysfs something happened."""
        while path:
            if (uid := self._paths.get(path)) is not None:
                return uid
            path = path.rpartition("/")[0]
        return None
