"""A NIC with sub-functions in a machine, driven and looked at with iproute2."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import HarnessError
from harness.machine import Machine
from harness.vdpa import Vdpa
from harness.virtual_functions import VirtualFunctions
from harness.wait import until

AUX = "/sys/bus/auxiliary/devices"


@dataclass(frozen=True, slots=True)
class Nic:
    """The NICs of one machine, whichever driver they have."""

    machine: Machine

    @property
    def vdpa(self) -> Vdpa:
        """The machine's vDPA devices."""
        return Vdpa(self.machine)

    def virtual_functions(self, address: str) -> VirtualFunctions:
        """The virtual functions of this PCI function."""
        return VirtualFunctions(self.machine, address)

    def devlink(self, *words: str) -> Any:
        """What iproute2's `devlink -j` says, decoded.

        Raises:
            CommandFailed: devlink was refused; the kernel's own text is in the error's output.
        """
        return json.loads(self.machine.run(["devlink", "-j", *words]).stdout or "{}")

    def ports(self, flavour: str | None = None) -> dict[str, Mapping[str, Any]]:
        """Every port by its handle (`devlink port show`), of one flavour if given."""
        shown = self.devlink("port", "show")["port"]
        return {name: port for name, port in shown.items() if flavour in (None, port.get("flavour"))}

    def port(self, handle: str) -> Mapping[str, Any]:
        """One port (`devlink port show HANDLE`)."""
        return dict(self.devlink("port", "show", handle)["port"][handle])

    def functions(self) -> list[str]:
        """The auxiliary devices of sub-functions (`mlx5_core.sf.2`); a PF and a sub-function's children have others."""
        return [name for name in self.machine.run(f"ls {AUX}").stdout.split() if ".sf." in name]

    def add(self, device: str, number: int, pf: int = 0) -> str:
        """`devlink port add DEVICE flavour pcisf pfnum PF sfnum NUMBER`; the new port's handle."""
        words = ("port", "add", device, "flavour", "pcisf", "pfnum", str(pf), "sfnum", str(number))
        # Not with -j: iproute2 6.15 forgets the braces around this one answer.
        return self.machine.run(["devlink", *words]).stdout.partition(": ")[0]

    def set(self, handle: str, *words: str) -> None:
        """`devlink port function set HANDLE ...`."""
        self.machine.run(["devlink", "port", "function", "set", handle, *words])

    def delete(self, handle: str) -> None:
        """`devlink port del HANDLE`."""
        self.machine.run(["devlink", "port", "del", handle])

    def wait(self, handle: str, opstate: Literal["attached", "detached"], timeout: float = 10) -> Mapping[str, Any]:
        """Look at a port until its `opstate` is as said: the kernel does not announce it."""
        return until(lambda: self.port(handle), lambda port: bool(port["function"]["opstate"] == opstate), timeout)

    def attach(self, device: str, number: int, mac: str = "00:00:00:00:88:88") -> tuple[str, str]:
        """Add, activate and wait: the handle of the port, and the name of its auxiliary device."""
        handle = self.add(device, number)
        self.set(handle, "hw_addr", mac, "state", "active")
        return handle, self.nested(handle)

    def nested(self, handle: str) -> str:
        """Wait until a sub-function's driver has registered, a moment after it attached; its auxiliary device."""
        port = until(lambda: self.port(handle), lambda port: "nested_devlink" in port["function"])
        (nested,) = port["function"]["nested_devlink"]
        return str(nested).removeprefix("auxiliary/")

    def enable(self, auxiliary: str, *parameters: str) -> None:
        """Set parameters of a sub-function (`enable_eth`, `enable_rdma`, `enable_vnet`) and reload it."""
        self._configure(auxiliary, "true", parameters)

    def disable(self, auxiliary: str, *parameters: str) -> None:
        """Unset parameters of a sub-function and reload it."""
        self._configure(auxiliary, "false", parameters)

    def _configure(self, auxiliary: str, value: str, parameters: tuple[str, ...]) -> None:
        for name in parameters:
            words = ("param", "set", f"auxiliary/{auxiliary}", "name", name, "value", value, "cmode", "driverinit")
            self.machine.run(["devlink", "dev", *words])
        self.machine.run(["devlink", "dev", "reload", f"auxiliary/{auxiliary}"])

    def refusal(self, command: str) -> str:
        """What a command that must fail says.

        Raises:
            HarnessError: it did not fail.
        """
        result = self.machine.run(command, check=False)
        if result.code == 0:
            raise HarnessError(f"{command!r} was not refused: {result.stdout}")
        return result.stdout + result.stderr

    def listing(self) -> str:
        """Every device there is, by its path: equal before and after means that nothing was left."""
        return self.machine.run(
            "find /sys/devices/pci* /sys/devices/virtual/net /sys/bus/auxiliary /sys/class/net /sys/class/infiniband* "
            "/sys/kernel/debug/sfsim /sys/kernel/debug/mlx5 /sys/bus/vdpa /sys/bus/mdev /sys/kernel/iommu_groups /dev "
            "| sort; devlink port show; devlink port function rate show; rdma link; vdpa dev show"
        ).stdout
