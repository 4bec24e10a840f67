"""Finds the uplink: the physical port of a PCI function, on the devlink instance where its driver registers it."""

from subfunction.kernel.address import Handle
from subfunction.kernel.bus.auxiliary import list_ethernet_children
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.port import Port
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import PortFlavour


def find_uplink(devlink: Devlink, sysfs: Sysfs, parent: Handle) -> Port | None:
    """Find a parent's physical port; None where it has none, as on mlx5 with `enable_eth` off.

    It is on the parent's own instance (ice, and mlx5 before Linux 6.3), or on that of its auxiliary device for Ethernet
    (`devlink port show auxiliary/mlx5_core.eth.0`). Each is asked by its handle: a dump of all instances would wait for
    every sub-function that is being removed.
    """
    directory = sysfs.resolve(parent.path)
    children = list_ethernet_children(sysfs, directory) if directory else ()
    for handle in (parent, *children):
        for port in devlink.ports(handle):
            if port.flavour is PortFlavour.PHYSICAL and not port.controller:
                return port
    return None
