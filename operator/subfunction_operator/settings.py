"""What can be set of the agent: one name in four spellings (flag, environment, Helm value, docs)."""

import dataclasses
from pathlib import Path
from typing import Literal

from subfunction.api import GROUP
from subfunction.kernel.sysfs import SYSFS
from subfunction.kubelet.checkpoint import KUBELET_FOLDER, KUBELET_ROOT
from subfunction.ledger import LEDGER
from subfunction.records import BOOT_ID, RECORDS
from subfunction.resources import STATE
from subfunction_operator.clientsettings import ClientSettings
from subfunction_operator.paperfolders import CDI, DEVICE_INFO


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ClientSettings):
    """The agent of one node."""

    node_name: str
    """The Node this agent works for; it sees and touches the SubFunctions of this node alone."""

    records: Path = RECORDS
    """Where records are written for the device plugin; a tmpfs, since what they say does not outlive the boot."""

    ledger: Path = LEDGER
    """Where the device plugin writes what it has handed out; read only."""

    state: Path = STATE
    """Where the node's resource names are kept; must outlive a reboot."""

    kubelet_root: Path = KUBELET_ROOT
    """The kubelet's `--root-dir`, for PodResources; read only."""

    kubelet_folder: Path = KUBELET_FOLDER
    """Where the kubelet's checkpoint is, a compile-time constant of its own, whatever its root; read only."""

    sysfs: Path = SYSFS
    """The host's /sys, writable: a container mounts it elsewhere, as AppArmor denies writes below /sys by path."""

    netlink: str = "kernel"
    """Which kernel to speak to: `kernel`, or the path of a simulated kernel's socket."""

    devices: Path = Path("/dev")
    """Where the host has its device nodes, as the container runtime sees it."""

    device_nodes: Literal["direct", "cdi"] = "direct"
    """How device nodes get into a container: in Allocate's answer, or by a CDI file that the container runtime reads
    (containerd from 2.0, or 1.7 with `enable_cdi`; CRI-O). Each by one way alone."""

    net_devices: tuple[str, ...] = ()
    """Resources whose netdev the container runtime moves into the container, by CDI. It moves it once: a container that
    restarts in the same pod does not start again. Needs containerd 2.2.7 or CRI-O 1.35, and runc 1.4 or crun 1.22."""

    cdi_folder: Path = CDI
    """Where container runtimes look for CDI files; a tmpfs, shared with other vendors."""

    device_info_folder: Path = DEVICE_INFO
    """Where Multus looks for device-info files of vDPA devices and virtual functions; shared with other plugins."""

    boot_id: Path = BOOT_ID
    """The file that tells this boot from others."""

    first_number: int = 1
    """The lowest sub-function number to choose; 0 is what mlnx-sf takes first."""

    last_number: int = 999
    """The highest sub-function number to choose; BlueField owns 1000 and above."""

    resource_domains: tuple[str, ...] = (GROUP,)
    """Domains of resource names that the device plugin registers; another one is refused on the object."""

    workers: int = 16
    """How many sub-functions are worked on at once; each parent still takes one request at a time."""

    kernel_deadline: float = 30.0
    """Seconds after which a parent whose kernel does not answer counts as busy and is left alone."""

    attach_deadline: float = 30.0
    """Seconds that a function may take to attach; hardware needs up to a few."""

    relist: float = 3600.0
    """Seconds, a tenth more or less, between two comparisons of what is known with a LIST; there is one whenever the
    watch begins anew too. Each costs the API server 0.5 us for every SubFunction of the whole cluster."""

    usage_interval: float = 10.0
    """Seconds between two looks at who holds what, while anything is handed out: the kubelet announces no end."""

    survey_interval: float = 5.0
    """Seconds between two looks at what the node can do, at least: its SubFunctionNode is not written more often."""
