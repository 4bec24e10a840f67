"""Records: what the agent says of each sub-function, for itself after a crash and for the device plugin always.

One file a sub-function in `/run/subfunction/devices/`, written by the agent alone. A record is the agent's write-ahead
log (a claim, made before the kernel is asked) and the device plugin's whole knowledge of a device. It is good only with
this boot's id, and never a fact by itself: observation decides, and the plugin compares the witness before it trusts.
"""

import enum
from pathlib import Path
from typing import Protocol

import msgspec

from subfunction.api import DeletionPolicy
from subfunction.claims import Claim
from subfunction.errors import FolderError
from subfunction.folder import Folder

SCHEMA = 1
RECORDS = Path("/run/subfunction/devices")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class State(enum.StrEnum):
    """Where a sub-function stands; only `ready` may be handed to a new pod.

    `returning`: its netdev came back from a pod, and is not yet as recorded.
    """

    PREPARING = "preparing"
    READY = "ready"
    DRAINING = "draining"
    RETURNING = "returning"


class Link(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A netdev as it was when it was offered, and as it must be again before it is offered again; `mtu` in bytes."""

    name: str
    mac_address: str | None = None
    mtu: int


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether the agent finds the device whole, and why not."""

    healthy: bool = False
    reason: str = ""
    message: str = ""


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A character device for the container: its path there, on the host, and what the container may (`rwm`)."""

    container_path: str
    host_path: str
    permissions: str = "rw"


class Mount(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A path of the host mounted into the container."""

    container_path: str
    host_path: str
    read_only: bool = True


class Witness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What sysfs shows of exactly this device; paths are relative to the sysfs root.

    kernfs never gives a re-created directory its old inode (seen on 6.12), so a device that went away and came back
    under the same name is told from the one that was promised. `numbers` are the texts of `dev` files (`231:192`).
    """

    inodes: dict[str, int] = {}
    links: dict[str, str] = {}
    numbers: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sub-function, as the agent last knew it."""

    schema: int = SCHEMA
    uid: str
    name: str
    boot_id: str
    state: State
    generation: int = 1
    """Grows with each change of `state`."""
    claim: Claim
    resource: str
    device_id: str = ""
    """What the kubelet and CNI plugins call it (`mlx5_core.sf.4`); empty until it is on its bus."""
    health: Health = Health()
    nodes: tuple[DeviceNode, ...] = ()
    """The device nodes that Allocate answers with."""
    mounts: tuple[Mount, ...] = ()
    env: dict[str, str] = {}
    cdi_name: str | None = None
    """What Allocate answers with for CDI (`subfunction.dev/sf=...`); it changes whenever what it stands for does."""
    cdi_nodes: tuple[DeviceNode, ...] = ()
    """The device nodes that enter the container by `cdi_name` instead; a node stands in one of the two, never both."""
    cdi_netdev: str = ""
    """The netdev that the container runtime moves into the container because of `cdi_name`."""
    numa_node: int | None = None
    parent: str = ""
    """The parent it is cut from: devices of one parent share its wire. Opaque to the plugin, as is `pcie_root`."""
    pcie_root: str = ""
    """The PCIe root above it (`pci0000:00`), by the name that the kubelet's `resource.kubernetes.io/pcieRoot` has."""
    witness: Witness = Witness()
    link: Link | None = None
    lent: bool = False
    """Whether its netdev was last seen in another network namespace."""
    remade: bool = False
    """Whether the device was made anew after it had been offered, and a pod may still have the one before."""
    deletion: DeletionPolicy = DeletionPolicy.DRAIN
    """What its object's deletionPolicy was, for the day on which the object is gone without a word."""

    @property
    def all_nodes(self) -> tuple[DeviceNode, ...]:
        """The device nodes that a container has in the end, in whatever way they get there."""
        return self.nodes + self.cdi_nodes

    def moved(self, state: State, health: Health) -> "Record":
        """Give the record in another state; the generation grows if it is another one."""
        generation = self.generation + (state is not self.state)
        return msgspec.structs.replace(self, state=state, generation=generation, health=health)


class WitnessView(Protocol):
    """The three looks at sysfs that a witness needs; each gives None where there is nothing to see."""

    def inode(self, path: str) -> int | None:
        """Give the inode of a directory."""

    def target(self, path: str) -> str | None:
        """Give what a symbolic link points at."""

    def read(self, path: str) -> str | None:
        """Give a file's text, stripped."""


def mismatch(witness: Witness, view: WitnessView) -> str | None:
    """Compare a witness with what sysfs shows now; None when it holds, else what differs."""
    for path, inode in witness.inodes.items():
        seen = view.inode(path)
        if seen is None:
            return f"{path} is gone"
        if seen != inode:
            return f"{path} is another device than the one recorded"
    for path, target in witness.links.items():
        if (link := view.target(path)) != target:
            return f"{path} points at {link or 'nothing'}, recorded was {target}"
    for path, number in witness.numbers.items():
        if (read := view.read(path)) != number:
            return f"{path} says {read or 'nothing'}, recorded was {number}"
    return None


def records(path: Path = RECORDS) -> Folder[Record]:
    """Open the folder of records."""
    return Folder(path, Record, SCHEMA)


def boot_id(path: Path = BOOT_ID) -> str:
    """Read this boot's id, which tells a record of this boot from one of an earlier one.

    Raises:
        FolderError: it cannot be read, and without it no record can be trusted.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise FolderError(f"cannot read this boot's id in {path}: {error.strerror}") from error
