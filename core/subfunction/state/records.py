"""Records: the agent's notes on each sub-function, for the device plugin and for itself after a crash.

There is one file a sub-function in `/run/subfunction/devices/`, written by the agent alone. A record is the agent's
write-ahead log (the claim, stored before the kernel is asked) and all that the device plugin knows of a device. It is
valid only with this boot's id, and it proves nothing by itself: the agent observes the kernel, and the plugin compares
the witness with sysfs before it trusts the record.
"""

import enum
from pathlib import Path
from typing import Protocol

import msgspec

from subfunction.api.subfunction import DeletionPolicy
from subfunction.errors import FolderError
from subfunction.state.claims import Claim
from subfunction.state.store import FileStore

SCHEMA = 1
RECORDS = Path("/run/subfunction/devices")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class State(enum.StrEnum):
    """The state of a sub-function; only one that is `ready` may be handed to a new pod.

    `returning`: its netdev came back from a pod, and is not yet restored to what is recorded.
    """

    PREPARING = "preparing"
    READY = "ready"
    DRAINING = "draining"
    RETURNING = "returning"


class LinkState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A netdev's settings when it was published, restored before it is published again; `mtu` is in bytes."""

    name: str
    mac_address: str | None = None
    mtu: int


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The agent's verdict whether the device is usable, and why not."""

    healthy: bool = False
    reason: str = ""
    message: str = ""


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A character device for a container: its path there and on the host, and the container's permissions (`rwm`)."""

    container_path: str
    host_path: str
    permissions: str = "rw"


class Witness(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The traits in sysfs by which this very device is recognised; paths are relative to the sysfs root.

    kernfs never gives a re-created directory its old inode (seen on 6.12), so a device that went away and came back
    under the same name differs from the one in the record. `numbers` are the texts of `dev` files (`231:192`).

    `movable` has by folder (`.../infiniband`) the inode of a device that a pod may have in its own network namespace.
    The folder looks empty meanwhile, and that is no difference; another device in it is one.
    """

    inodes: dict[str, int] = {}
    movable: dict[str, int] = {}
    links: dict[str, str] = {}
    numbers: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One sub-function as the agent last knew it."""

    schema: int = SCHEMA
    uid: str
    name: str
    boot_id: str
    state: State
    generation: int = 1
    """A number that grows with each change of `state`."""
    claim: Claim
    resource: str
    device_id: str = ""
    """The device's name for the kubelet and for CNI plugins (`mlx5_core.sf.4`); empty until it is on its bus."""
    health: Health = Health()
    nodes: tuple[DeviceNode, ...] = ()
    """The device nodes that Allocate returns."""
    env: dict[str, str] = {}
    cdi_name: str | None = None
    """The CDI device that Allocate returns (`subfunction.dev/sf=...`); the name changes whenever its content does."""
    cdi_nodes: tuple[DeviceNode, ...] = ()
    """The device nodes that the container gets through `cdi_name` instead; no node is in both `nodes` and here."""
    cdi_netdev: str = ""
    """The netdev that the container runtime moves into the container because of `cdi_name`."""
    numa_node: int | None = None
    parent: str = ""
    """The parent that it belongs to: devices of one parent share its link. Opaque to the plugin, as is `pcie_root`."""
    pcie_root: str = ""
    """The PCIe root above it (`pci0000:00`), in the form of the attribute `resource.kubernetes.io/pcieRoot`."""
    witness: Witness = Witness()
    link: LinkState | None = None
    lent: bool = False
    """Whether its netdev was last seen in another network namespace."""
    remade: bool = False
    """Whether the device was re-created after it had been published, and a pod may still have the earlier one."""
    deletion: DeletionPolicy = DeletionPolicy.DRAIN
    """The deletionPolicy of its object, which applies when the object vanishes without a deletion that we saw."""

    @property
    def all_nodes(self) -> tuple[DeviceNode, ...]:
        """Return all device nodes that a container gets, those through CDI included."""
        return self.nodes + self.cdi_nodes

    def with_state(self, state: State, health: Health) -> "Record":
        """Return the record in `state`, with a higher generation if the state differs."""
        generation = self.generation + (state is not self.state)
        return msgspec.structs.replace(self, state=state, generation=generation, health=health)


class WitnessView(Protocol):
    """The part of sysfs that a witness is compared with; where there is nothing to read the answer is None or empty."""

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory."""

    def inode(self, path: str) -> int | None:
        """Return the inode of a directory."""

    def target(self, path: str) -> str | None:
        """Return the target of a symbolic link."""

    def read(self, path: str) -> str | None:
        """Return a file's text, stripped."""


def find_mismatch(witness: Witness, view: WitnessView) -> str | None:
    """Compare a witness with what sysfs shows now; return the first difference, None where there is none."""
    for path, inode in witness.inodes.items():
        seen = view.inode(path)
        if seen is None:
            return f"{path} is gone"
        if seen != inode:
            return f"{path} is another device than the one recorded"
    for folder, inode in witness.movable.items():
        present = {view.inode(f"{folder}/{name}") for name in view.names(folder)} - {None}
        if present and inode not in present:
            return f"{folder} has another device than the one recorded"
    for path, target in witness.links.items():
        if (link := view.target(path)) != target:
            return f"{path} points at {link or 'nothing'}, recorded was {target}"
    for path, number in witness.numbers.items():
        if (read := view.read(path)) != number:
            return f"{path} says {read or 'nothing'}, recorded was {number}"
    return None


def open_records(path: Path = RECORDS) -> FileStore[Record]:
    """Open the records' folder."""
    return FileStore(path, Record, SCHEMA)


def read_boot_id(path: Path = BOOT_ID) -> str:
    """Read this boot's id, by which a record of this boot differs from one of an earlier boot.

    Raises:
        FolderError: the id cannot be read; without it no record can be trusted.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise FolderError(f"cannot read this boot's id in {path}: {error.strerror}") from error
