"""The real mlx5 drivers of a machine over mlx5fw: brought back to a known state, loaded anew, made faulty."""

from dataclasses import dataclass
from typing import Literal

from harness.firmware import Firmware
from harness.machine import SHARE
from harness.mlx5_drivers import BUILT
from harness.nic import AUX, Nic
from harness.topology import Topology
from harness.vdpa import BUS

Mode = Literal["legacy", "switchdev"]

DRIVER = "/sys/bus/pci/drivers/mlx5_core"
MODULES = ("mlx5fw", *(source.name for source in BUILT))
"""In the order to load them."""

PARAMETERS = {"mlx5_core": "prof_sel=1"}
"""mlx5_core's usual profile makes 6,000 memory keys for mlx5_ib when a PF comes up, which takes a minute here."""

EMPTYING = f"""
for name in $(ls {BUS}/devices); do vdpa dev del $name; done
ports=$(devlink port show | sed -n 's/^\\(pci[^ ]*\\): .* flavour pcisf .*/\\1/p')
if [ "$ports" ]; then
    # One that the firmware has lost cannot be deactivated; it can be deleted.
    for port in $ports; do echo "port function set $port hw_addr 00:00:00:00:00:00 state inactive"; done |
        devlink -f -b - || true
    while devlink port show | grep -q 'state inactive opstate attached'; do sleep 0.1; done
    for port in $ports; do echo "port del $port"; done | devlink -b -
fi
while ls {AUX} | grep -q '[.]sf[.]'; do sleep 0.02; done
"""
"""Shell lines that remove every vDPA device and every sub-function."""


def insmod(topology: Topology, *names: str, **firmware: int) -> str:
    """The shell line that loads modules from the share; `firmware` are mlx5fw's parameters beside its cards."""
    given = {**PARAMETERS, "mlx5fw": " ".join((topology.firmware, *(f"{k}={v}" for k, v in firmware.items())))}
    return " && ".join(f"insmod {SHARE}/{name}.ko {given.get(name, '')}".rstrip() for name in names)


@dataclass(frozen=True, slots=True)
class Mlx5(Nic):
    """The drivers in one machine; see ../mlx5fw/README.md for the firmware under them."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The PCI addresses of the physical functions."""
        return self.machine.topology.addresses()

    def faults(self, address: str) -> Firmware:
        """The firmware of this PCI function: what it is told to do wrong, and what it was asked."""
        return Firmware(self.machine, address)

    def reset(self, mode: Mode = "switchdev") -> None:
        """Bring all physical functions into one state: bound, without sub-functions or faults, in this mode."""
        lines = [f"[ -e {DRIVER}/{address} ] || echo {address} > {DRIVER}/bind" for address in self.addresses]
        lines += [*(self.faults(address).clearing for address in self.addresses), EMPTYING]
        lines += [
            f"devlink dev eswitch show pci/{address} | grep -q ' mode {mode} ' || "
            f"devlink dev eswitch set pci/{address} mode {mode}"
            for address in self.addresses
        ]
        lines += [f"echo 0 > {self.faults(address).folder}/trace" for address in self.addresses]
        self.machine.run("\n".join(("set -e", *lines)), timeout=240)

    def empty(self) -> None:
        """Delete the vDPA devices and the sub-functions, and wait until their drivers have let go.

        The driver keeps the address of a deleted sub-function for the next one in its slot; they are set to none.
        """
        self.machine.run(f"set -e\n{EMPTYING}", timeout=180)

    def rebind(self, address: str) -> None:
        """Take a physical function from its driver and give it back: in legacy mode, with nothing kept."""
        self.unbind(address)
        self.bind(address)

    def unbind(self, address: str) -> None:
        """`echo ADDRESS > .../unbind`."""
        self.machine.run(f"echo {address} > {DRIVER}/unbind", timeout=60)

    def bind(self, address: str) -> None:
        """`echo ADDRESS > .../bind`."""
        self.machine.run(f"echo {address} > {DRIVER}/bind", timeout=60)

    def load(self, *names: str, **firmware: int) -> None:
        """Load these modules, or all: `insmod`, with these parameters of mlx5fw (`max_sfs=2`)."""
        self.machine.run(insmod(self.machine.topology, *(names or MODULES), **firmware), timeout=120)

    def unload(self, *names: str) -> None:
        """Unload these modules, or all: `rmmod`."""
        self.machine.run(["rmmod", *(names or reversed(MODULES))], timeout=120)
