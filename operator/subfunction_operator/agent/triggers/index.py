"""Finds the sub-function of an event by the port, devlink instance, sysfs directory or link that it names."""

import dataclasses

from subfunction_operator.agent.model.observation import Observation


@dataclasses.dataclass(slots=True)
class DeviceIndex:
    """The uid of each observed sub-function, by the names that events of the kernel have."""

    _devices: dict[str, str] = dataclasses.field(default_factory=dict)
    _paths: dict[str, str] = dataclasses.field(default_factory=dict)
    _links: dict[int, str] = dataclasses.field(default_factory=dict)

    def update(self, uid: str, seen: Observation) -> None:
        """Add all names of one observation; an old name stays until another sub-function has it."""
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

    def delete(self, uid: str) -> None:
        """Remove all names of one sub-function."""
        self._devices = {device: owner for device, owner in self._devices.items() if owner != uid}
        self._paths = {path: owner for path, owner in self._paths.items() if owner != uid}
        self._links = {ifindex: owner for ifindex, owner in self._links.items() if owner != uid}

    def by_device(self, device: str) -> str | None:
        """Return the uid for a port (`pci/0000:05:00.0/32768`) or an instance (`auxiliary/mlx5_core.sf.4`)."""
        return self._devices.get(device)

    def by_link(self, ifindex: int) -> str | None:
        """Return the uid for a netdev or a representor."""
        return self._links.get(ifindex)

    def by_path(self, path: str) -> str | None:
        """Return the uid for a directory in sysfs, or one above it."""
        while path:
            if (uid := self._paths.get(path)) is not None:
                return uid
            path = path.rpartition("/")[0]
        return None
