"""QEMU's command line: the machine, its cards, its channels."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import leftovers
from harness.image import Image

MEMORY_MIB = 1024
PREFIX = "sf-vm-"
KERNEL_LINE = (
    "console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr tsc=reliable no_timer_check "
    "net.ifnames=0 random.trust_cpu=on"
)
IOMMU_LINE = "intel_iommu=on iommu=pt"


@dataclass(frozen=True, slots=True)
class Card:
    """One NIC; each function is a QEMU `edu` device, which sfsim's PCI driver takes for its own.

    With virtual functions it is one QEMU `nvme` device, for that is what QEMU 7.2 has with SR-IOV. Its state cannot be
    saved: it is plugged in when the machine has been restored.
    """

    bus: int
    numa_node: int
    functions: int = 1
    virtual_functions: int = 0

    def addresses(self) -> tuple[str, ...]:
        """The PCI addresses of its physical functions."""
        return tuple(f"0000:{self.bus:02x}:00.{function}" for function in range(self.functions))

    def options(self) -> list[str]:
        """A host bridge on the NUMA node, and the card in a slot of it: the slot's bus follows the bridge's."""
        name = f"card{self.bus:02x}"
        bridge = f"pxb-pcie,id=bridge{self.bus:02x},bus_nr={self.bus - 1},bus=pcie.0,numa_node={self.numa_node}"
        slot = f"pcie-root-port,id={name},bus=bridge{self.bus:02x},chassis={self.bus},slot={self.bus}"
        options = ["-device", bridge, "-device", slot]
        if self.virtual_functions:  # only the place for it
            return [*options, "-device", f"nvme-subsys,id=subsys-{name}"]
        for function in range(self.functions):
            more = ",multifunction=on" if self.functions > 1 and function == 0 else ""
            options += ["-device", f"edu,bus={name},addr=0.{function}{more}"]
        return options

    def device(self) -> dict[str, Any]:
        """What is plugged in for its virtual functions (QMP's `device_add`)."""
        name = f"card{self.bus:02x}"
        return {
            "driver": "nvme", "id": f"nvme-{name}", "bus": name, "addr": "0.0", "serial": name,
            "subsys": f"subsys-{name}", "sriov_max_vfs": self.virtual_functions,
            "max_ioqpairs": 2 * self.virtual_functions + 2, "sriov_vq_flexible": 2 * self.virtual_functions,
            "msix_qsize": self.virtual_functions + 2, "sriov_vi_flexible": self.virtual_functions,
        }  # fmt: skip


CARDS = (Card(bus=0x05, numa_node=0, functions=2), Card(bus=0x81, numa_node=1))


@dataclass(frozen=True, slots=True)
class Topology:
    """Two sockets, each a NUMA node, and the cards between them."""

    cards: tuple[Card, ...] = field(default=CARDS)
    iommu: bool = False
    """With an IOMMU, as VFIO needs it for a PCI function."""
    disks: tuple[Path, ...] = ()
    """Images beside the root's, read-only: /dev/vdb, ..."""

    def addresses(self) -> tuple[str, ...]:
        """The PCI addresses of all physical functions."""
        return tuple(address for card in self.cards for address in card.addresses())

    @property
    def kernel_line(self) -> str:
        """What the kernel is told."""
        return f"{KERNEL_LINE} {IOMMU_LINE}" if self.iommu else KERNEL_LINE

    def options(self) -> list[str]:
        """The part of the command line that a snapshot depends on."""
        half = f"{MEMORY_MIB // 2}M"
        options = [
            # One thread for both processors: with several, QEMU 7.2 brought the guest down in a patched jump label, and
            # two machines on two cores are as fast.
            "-accel", "tcg,thread=single,tb-size=512", "-machine", "q35,usb=off,vmport=off",
            # Emulated, a newer one is slower: with `max` the same tests take 13% more time.
            "-cpu", "Nehalem",
            "-smp", "2,sockets=2,cores=1,threads=1", "-m", str(MEMORY_MIB),
            "-object", f"memory-backend-ram,id=m0,size={half}", "-numa", "node,nodeid=0,memdev=m0,cpus=0",
            "-object", f"memory-backend-ram,id=m1,size={half}", "-numa", "node,nodeid=1,memdev=m1,cpus=1",
            "-nodefaults", "-display", "none", "-no-reboot", "-device", "vmgenid,guid=auto",
            # Before every device it is to translate for.
            *(("-device", "intel-iommu,intremap=on,caching-mode=on") if self.iommu else ()),
            "-device", "virtio-blk-pci,drive=root", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=harness,name=harness",
            "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
        ]  # fmt: skip
        for card in self.cards:
            options += card.options()
        for number, disk in enumerate(self.disks):
            options += ["-drive", f"file={disk},if=none,id=disk{number},format=raw,readonly=on"]
            options += ["-device", f"virtio-blk-pci,bus=pcie.0,drive=disk{number}"]
        return options


IOMMU = Topology(cards=(*CARDS, Card(bus=0x41, numa_node=0, virtual_functions=4)), iommu=True)
"""The second kind of machine: with an IOMMU, and a card that has virtual functions (0000:41:00.0, at most four)."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """A machine's folder on the host: sockets, console, and the folder it shares with the guest."""

    folder: Path

    @classmethod
    def make(cls) -> "Workplace":
        """A new one below /tmp: pytest's folders are too deep, for a socket's path has 107 bytes.

        Those of owners that were killed before they could remove theirs are removed.
        """
        tmp = Path(tempfile.gettempdir())
        leftovers.sweep(tmp, PREFIX)
        place = cls(Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=tmp)))
        place.share.mkdir()
        return place

    @property
    def console(self) -> Path:
        """The serial console's whole output."""
        return self.folder / "console.log"

    @property
    def share(self) -> Path:
        """`/run/share` in the guest."""
        return self.folder / "share"

    @property
    def qmp(self) -> Path:
        """QEMU's monitor."""
        return self.folder / "qmp.sock"

    @property
    def channel(self) -> Path:
        """The zygote's serial port."""
        return self.folder / "channel.sock"

    @property
    def stderr(self) -> Path:
        """What QEMU itself says."""
        return self.folder / "qemu.log"

    def options(self, image: Image, kernel_line: str) -> list[str]:
        """The part of the command line that differs from machine to machine."""
        return [
            "-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel_line,
            "-drive", f"file={image.root},if=none,id=root,format=raw,readonly=on",
            "-serial", f"file:{self.console}",
            "-netdev", "user,id=net",
            "-chardev", f"socket,id=harness,path={self.channel},server=on,wait=off",
            "-chardev", f"socket,id=qmp,path={self.qmp},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
            "-fsdev", f"local,id=share,path={self.share},security_model=none,multidevs=remap",
        ]  # fmt: skip
