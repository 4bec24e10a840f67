"""vDPA devices of a machine, by iproute2's `vdpa` and the driver core's files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.machine import Machine, Process

BUS = "/sys/bus/vdpa"

Driver = Literal["vhost_vdpa", "virtio_vdpa"]


@dataclass(frozen=True, slots=True)
class Vdpa:
    """The vDPA bus of one machine."""

    machine: Machine

    def show(self, *words: str) -> Any:
        """What `vdpa -j ...` says, decoded.

        Raises:
            CommandFailed: it was refused.
        """
        return json.loads(self.machine.run(["vdpa", "-j", *words]).stdout or "{}")

    def management(self) -> Mapping[str, Any]:
        """The management devices by their handles (`vdpa mgmtdev show`)."""
        return dict(self.show("mgmtdev", "show").get("mgmtdev", {}))

    def devices(self) -> Mapping[str, Any]:
        """The devices by their names (`vdpa dev show`)."""
        return dict(self.show("dev", "show").get("dev", {}))

    def config(self, name: str) -> Mapping[str, Any]:
        """A device's configuration (`vdpa dev config show NAME`)."""
        return dict(self.show("dev", "config", "show", name)["config"][name])

    def add(self, name: str, auxiliary: str, *words: str) -> None:
        """`vdpa dev add name NAME mgmtdev auxiliary/... WORDS` (`mac`, `mtu`, `max_vqp`, `device_features`)."""
        self.machine.run(["vdpa", "dev", "add", "name", name, "mgmtdev", f"auxiliary/{auxiliary}", *words])

    def delete(self, name: str) -> None:
        """`vdpa dev del NAME`."""
        self.machine.run(["vdpa", "dev", "del", name])

    def driver(self, name: str) -> str | None:
        """The driver bound to a device."""
        said = self.machine.run(f"readlink {BUS}/devices/{name}/driver", check=False).stdout.strip()
        return said.rpartition("/")[2] or None

    def bind(self, name: str, driver: Driver) -> None:
        """Give a device to this driver, whoever had it before."""
        self.machine.run(
            f"cd {BUS}; echo {driver} > devices/{name}/driver_override; "
            f"if [ -e devices/{name}/driver ]; then echo {name} > devices/{name}/driver/unbind; fi; "
            f"echo {name} > drivers_probe"
        )

    def unbind_later(self, name: str) -> Process:
        """Take a device from its driver in the background: it waits for whoever has it open."""
        return self.machine.spawn(f"echo {name} > {BUS}/drivers/{self.driver(name)}/unbind", name=f"unbind-{name}")

    def node(self, name: str) -> str:
        """The character device of one bound to vhost_vdpa (`/dev/vhost-vdpa-0`)."""
        return f"/dev/{self.machine.run(f'cd {BUS}/devices/{name}; echo vhost-vdpa-*').stdout.strip()}"

    def netdev(self, name: str, parent: str) -> str:
        """The netdev of one bound to virtio_vdpa: below the parent's PCI device, told by its MAC."""
        mac = self.config(name)["mac"]
        found = self.machine.run(f"grep -l {mac} /sys/bus/pci/devices/{parent}/virtio*/net/*/address").stdout
        return found.split("/")[-2]
