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
RESERVED = 0x1C000000
"""Where the memory begins that the kernel leaves to mlx5fw: within node 0's."""
RESERVED_MIB = 16
"""Of it, for each function."""


@dataclass(frozen=True, slots=True)
class Card:
    """One NIC; each function is a QEMU `edu` device, which sfsim's PCI driver takes for its own, or is made by mlx5fw.

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
    mlx5: bool = False
    """With the real mlx5 drivers over mlx5fw: the cards are made by that, but those with virtual functions."""
    disks: tuple[Path, ...] = ()
    """Images beside the root's, read-only: /dev/vdb, ..."""

    def addresses(self) -> tuple[str, ...]:
        """The PCI addresses of all physical functions."""
        return tuple(address for card in self.cards for address in card.addresses())

    @property
    def kernel_line(self) -> str:
        """What the kernel is told."""
        words = [KERNEL_LINE]
        if self.iommu:
            words.append(IOMMU_LINE)
        if self.mlx5:
            words.append(f"memmap={RESERVED_MIB * len(self._buses())}M${RESERVED:#x}")
        return " ".join(words)

    @property
    def firmware(self) -> str:
        """The parameters of mlx5fw for these cards."""
        nodes = [card.numa_node for card in self._emulated() for _ in range(card.functions)]
        return f"base={RESERVED:#x} bus={','.join(map(str, self._buses()))} node={','.join(map(str, nodes))}"

    def _buses(self) -> list[int]:
        return [card.bus for card in self._emulated() for _ in range(card.functions)]

    def _emulated(self) -> list[Card]:
        return [card for card in self.cards if self.mlx5 and not card.virtual_functions]

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
            if card not in self._emulated():
                options += card.options()
        for number, disk in enumerate(self.disks):
            options += ["-drive", f"file={disk},if=none,id=disk{number},format=raw,readonly=on"]
            options += ["-device", f"virtio-blk-pci,bus=pcie.0,drive=disk{number}"]
        return options


IOMMU = Topology(cards=(*CARDS, Card(bus=0x41, numa_node=0, virtual_functions=4)), iommu=True)
"""The second kind of machine: with an IOMMU, and a card that has virtual functions (0000:41:00.0, at most four)."""

MLX5 = Topology(mlx5=True)
"""The kind with the real mlx5 drivers."""


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
