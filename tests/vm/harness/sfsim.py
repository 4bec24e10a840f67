"""The simulated NIC of a machine, loaded and unloaded, made slow or faulty, and looked at with iproute2."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from harness.errors import HarnessError
from harness.machine import SHARE, Machine

Operation = Literal["new", "set_mac", "activate", "probe", "del", "reload"]

T = TypeVar("T")

AUX = "/sys/bus/auxiliary/devices"
DEBUGFS = "/sys/kernel/debug/sfsim"


@dataclass(frozen=True, slots=True)
class Sfsim:
    """The module in one machine; see ../sfsim/README.md for what it simulates."""

    machine: Machine

    def load(self, **parameters: int) -> None:
        """Load it, fresh: `switchdev=1`, `light=0`, `max_sfs=2`, `no_sf=1`, `first_port=4` (`insmod sfsim.ko ...`)."""
        given = " ".join(f"{name}={value}" for name, value in parameters.items())
        self.machine.run(f"if [ -e /sys/module/sfsim ]; then rmmod sfsim; fi; insmod {SHARE}/sfsim.ko {given}")

    def unload(self) -> None:
        """Unload it, and with it everything it made (`rmmod sfsim`)."""
        self.machine.run("rmmod sfsim")

    def delay(self, address: str, *, attach_ms: int = 0, detach_ms: int = 0) -> None:
        """Let sub-functions of this PCI function appear and disappear later than asked."""
        folder = f"{DEBUGFS}/{address}"
        self.machine.run(f"echo {attach_ms} > {folder}/attach_delay_ms; echo {detach_ms} > {folder}/detach_delay_ms")

    def fail_next(self, address: str, operation: Operation, errno: int, count: int = 1) -> None:
        """Let the next `count` operations of a kind fail with `errno`; a count of 0 takes that back."""
        self.machine.run(f"echo {operation} {errno} {count} > {DEBUGFS}/{address}/fail_next")

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
        # The nested handle is there when the driver has registered, a moment after it attached.
        port = until(lambda: self.port(handle), lambda port: "nested_devlink" in port["function"])
        (nested,) = port["function"]["nested_devlink"]
        return handle, str(nested).removeprefix("auxiliary/")

    def enable(self, auxiliary: str, *parameters: str) -> None:
        """Set parameters of a sub-function (`enable_eth`, `enable_rdma`) and reload it."""
        for name in parameters:
            words = ("param", "set", f"auxiliary/{auxiliary}", "name", name, "value", "true", "cmode", "driverinit")
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
            "/sys/kernel/debug/sfsim /dev | sort; devlink port show; devlink port function rate show; rdma link"
        ).stdout


def until(look: Callable[[], T], good: Callable[[T], bool], timeout: float = 10) -> T:
    """Look again until it is good; the good value.

    Raises:
        HarnessError: it was not, in `timeout` seconds; the last value is quoted.
    """
    deadline = time.monotonic() + timeout
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise HarnessError(f"not in {timeout:.0f} s; the last seen: {seen}")
        time.sleep(0.02)
    return seen
