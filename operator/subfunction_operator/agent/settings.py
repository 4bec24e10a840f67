"""The agent's settings: each has one name, spelled as flag, environment variable, Helm value and in docs."""

import dataclasses
from pathlib import Path
from typing import Literal

from subfunction.api.subfunction import GROUP
from subfunction.kernel.sysfs import SYSFS
from subfunction.kubelet.checkpoint import KUBELET_FOLDER, KUBELET_ROOT
from subfunction.state.ledger import LEDGER
from subfunction.state.records import BOOT_ID, RECORDS
from subfunction.state.resource_names import STATE
from subfunction_operator.agent.offer.artifact_store import CDI, DEVICE_INFO
from subfunction_operator.kube.settings import ClientSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ClientSettings):
    """The settings of one node's agent."""

    node_name: str
    """The Node this agent works for; it sees and touches the SubFunctions of this node alone."""

    records: Path = RECORDS
    """Where records are written for the device plugin; a tmpfs, since what they say does not outlive the boot."""

    ledger: Path = LEDGER
    """Where the device plugin writes which devices it has allocated; read only."""

    state: Path = STATE
    """Where the node's resource names are kept; must outlive a reboot."""

    kubelet_root: Path = KUBELET_ROOT
    """The kubelet's `--root-dir`, for PodResources; read only."""

    kubelet_folder: Path = KUBELET_FOLDER
    """Where the kubelet's checkpoint is: a constant in the kubelet, whatever its `--root-dir`; read only."""

    sysfs: Path = SYSFS
    """The host's /sys, writable: a container mounts it elsewhere, as AppArmor denies writes below /sys by path."""

    netlink: str = "kernel"
    """Which kernel to speak to: `kernel`, or the path of a simulated kernel's socket."""

    devices: Path = Path("/dev")
    """Where the host has its device nodes, as the container runtime sees it."""

    device_nodes: Literal["direct", "cdi"] = "direct"
    """How device nodes get into a container: in Allocate's answer, or by a CDI file that the container runtime reads
    (containerd from 2.0, or 1.7 with `enable_cdi`; CRI-O). A node is delivered in one of the two ways, never both."""

    net_devices: tuple[str, ...] = ()
    """Resources whose netdev the container runtime moves into the container, by CDI. It does so once: a container that
    restarts in the same pod cannot start again. Needs containerd 2.2.7 or CRI-O 1.35, and runc 1.4 or crun 1.22."""

    cdi_folder: Path = CDI
    """Where container runtimes look for CDI files; a tmpfs, shared with other vendors."""

    device_info_folder: Path = DEVICE_INFO
    """Where Multus looks for device-info files of vDPA devices and virtual functions; shared with other plugins."""

    boot_id: Path = BOOT_ID
    """The file with the id of this boot."""

    first_number: int = 1
    """The lowest sub-function number to choose; 0 is the first that mlnx-sf takes."""

    last_number: int = 999
    """The highest sub-function number to choose; BlueField uses 1000 and above."""

    number_ranges: tuple[str, ...] = ()
    """Ranges of numbers for some parents alone, as `[NODE:]PARENT=FIRST-LAST` (`pci/0000:03:00.0=600-799`); `*` stands
    for any text, and the first that fits counts. For cards on which another tool has numbers of the usual range."""

    restore_switchdev: bool = False
    """Whether a parent on which a sub-function was is put back into switchdev mode after a reload or a recovery has
    left it in legacy mode. Never while it has virtual functions or mediated devices."""

    resource_domains: tuple[str, ...] = (GROUP,)
    """Domains of resource names that the device plugin registers; another one is refused on the object."""

    workers: int = 16
    """How many sub-functions are worked on at once; each parent still has one at a time."""

    kernel_deadline: float = 30.0
    """Seconds after which a parent whose kernel does not answer counts as busy and is left alone."""

    attach_deadline: float = 30.0
    """Seconds that a function may take to attach; hardware needs up to a few."""

    relist: float = 3600.0
    """Seconds, a tenth more or less, between two comparisons of the cache with a LIST; there is also one whenever the
    watch is restarted. Each costs the API server 0.5 us for every SubFunction of the whole cluster."""

    usage_interval: float = 10.0
    """Seconds between two looks at which pods use devices, while any does: the kubelet reports no end of a pod."""

    survey_interval: float = 5.0
    """Seconds at least between two discoveries of the node, and so between two writes of its SubFunctionNode."""
