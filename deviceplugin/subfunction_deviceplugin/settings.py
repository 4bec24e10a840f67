"""The plugin's settings, each by flag (`--kubelet-folder`) or environment (`SUBFUNCTION_KUBELET_FOLDER`)."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from subfunction.kernel.sysfs import SYSFS
from subfunction.kubelet.checkpoint import KUBELET_FOLDER, KUBELET_ROOT
from subfunction.process.settings import ProgramSettings
from subfunction.state.ledger import LEDGER
from subfunction.state.records import BOOT_ID, RECORDS
from subfunction.state.resource_names import STATE

Seconds = Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gt=0))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ProgramSettings):
    """The device plugin's settings; the defaults are right in the DaemonSet of the chart."""

    records: Path = RECORDS
    """Folder of the agent's records, read and watched. In /run: they are good for one boot only."""

    ledger: Path = LEDGER
    """Folder of the ledger of allocations, written here and read by the agent. In /run, beside the records."""

    state: Path = STATE
    """Folder of `resources.json`, read: the names to register at once. In /var/lib, so that it outlives a reboot."""

    sysfs: Path = SYSFS
    """The host's sysfs, read-only, to compare witnesses with; another place where a container mounts it elsewhere."""

    boot_id: Path = BOOT_ID
    """File with this boot's id; another one only where a boot is simulated."""

    kubelet_root: Path = KUBELET_ROOT
    """The kubelet's `--root-dir`: a kubelet that cannot be called finds our socket in its `plugins_registry`."""

    kubelet_folder: Path = KUBELET_FOLDER
    """Folder of the kubelet's socket, of ours, and of its checkpoint. The kubelet's path is a compile-time constant,
    whatever its root."""

    resource_domains: tuple[str, ...] = ("subfunction.dev",)
    """Domains of resource names that may be registered: no record can take over `nvidia.com/gpu`."""

    coalesce: Seconds = 0.1
    """Seconds from the first change to a read, so that a burst costs the kubelet one message. A person does not notice
    100 ms; the kubelet rewrites its whole checkpoint for each message."""

    allocate_deadline: Seconds = 20.0
    """Seconds for one Allocate or PreStartContainer. For Allocate the kubelet sets no deadline of its own, and admits
    no pod meanwhile; for PreStartContainer it waits 30 s."""

    allocation_policy: Literal["packed", "spread"] = "spread"
    """Which parents devices are taken from, of those that are equally near: `spread` takes the parent with the fewest
    devices in use and gives a container devices of several wires, `packed` fills one parent before the next."""

    numa_hints: bool = True
    """Whether the list tells the kubelet each device's NUMA node. With it the Topology Manager aligns the resource (and
    its policies `restricted` and `single-numa-node` refuse pods that cannot be aligned); without it, it never does."""

    stream_wait: Seconds = 5.0
    """Seconds after the registration in which the kubelet must open its ListAndWatch stream, or we register again. It
    takes milliseconds; kubelets up to 1.36 may drop a new registration when an old stream ends."""

    resend_wanted: Seconds = 5.0
    """Seconds between repeated lists while a device in use is waited for (it is being drained, its id is taken, or it
    was made anew): the kubelet notes on disk that a pod has ended only when a list arrives."""

    resend_held: Seconds = 60.0
    """Seconds between repeated lists while any device is in use, for the same reason. Each costs the kubelet one write
    of some 50 bytes a device."""

    node_name: str = ""
    """This node's name, for the log alone."""
