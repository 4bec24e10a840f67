"""The kernel's own state in lines: what a person with every tool of iproute2 and a look at /sys would write down.

Read from the simulated kernel's insides, not over its netlink, and by nothing of the operator's. What a kernel numbers
as it likes (auxiliary indices, netdev names, device nodes) is left out, so that the lines of two runs compare.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from subfunction_simulator.kernel import SimulatedKernel
from subfunction_simulator.kernel.cards.nic import Nic
from subfunction_simulator.kernel.cards.subfunction import SubFunction
from subfunction_simulator.kernel.network.netdev import Netdev

_INDEX = re.compile(r"\d+$")


def sight(kernel: SimulatedKernel) -> list[str]:
    """Write down all that could have leaked, been doubled or be wrong; sorted."""
    with kernel.lock:
        return sorted(
            [*_functions(kernel), *_devices(kernel), *_netdevs(kernel), *_nodes(kernel.root / "dev"), *_pci(kernel)]
        )


def _functions(kernel: SimulatedKernel) -> Iterator[str]:
    for handle, nic in kernel.hardware.instances.items():
        if not isinstance(nic, Nic):
            continue
        yield f"{handle}: {nic.mode.name.lower()}"
        for function in nic.sub_functions.values():
            yield f"{handle} sf {function.number}: {_function(nic, function)}"
        for port in nic.ports.values():
            if port.virtual is not None:
                on = bin(port.virtual.capabilities & port.virtual.supported)
                yield f"{handle} vf {port.virtual.index}: {port.virtual.mac} capabilities {on} {_link(port.netdev)}"


def _function(nic: Nic, function: SubFunction) -> str:
    port = function.port
    if port is None:
        return "no port"
    state = "active" if function.active else "inactive"
    attached = "attached" if function.attached else "detached"
    words = [str(function.mac), state, attached]
    if function.managed:
        words.append(f"roce {'on' if function.roce else 'off'} queues {function.max_io_eqs}")
    if nic.rates is not None and (leaf := nic.rates.leaf(port)) is not None:
        words.append(f"rate {leaf.share}/{leaf.maximum}")
    return " ".join([*words, _link(port.netdev)])


def _link(representor: Netdev | None) -> str:
    if representor is None:
        return "no representor"
    master = f" in {representor.master.name}" if representor.master else ""
    return f"representor {'up' if representor.up else 'down'} {representor.mtu}{master}"


def _devices(kernel: SimulatedKernel) -> Iterator[str]:
    hardware = kernel.hardware
    for device in hardware.auxiliary:
        yield f"auxiliary {device.kind}: {device.driver}"
    for vdpa in hardware.vdpa.bus:
        settings = f"{vdpa.mac} {vdpa.mtu} queues {vdpa.queue_pairs}"
        yield f"vdpa {vdpa.name}: {vdpa.driver} override {vdpa.override} {settings}"
    for mediated in hardware.mediated.bus:
        yield f"mdev {mediated.name}: {mediated.driver} {mediated.offer.kind.id}"


def _pci(kernel: SimulatedKernel) -> Iterator[str]:
    for function in kernel.hardware.pci:
        yield f"pci {function.name}: {function.driver} override {function.override}"


def _netdevs(kernel: SimulatedKernel) -> Iterator[str]:
    """List those of functions; representors stand with their functions."""
    represented = {
        id(port.netdev)
        for instance in kernel.hardware.instances.values()
        if isinstance(instance, Nic)
        for port in instance.ports.values()
        if port.sub_function is not None or port.virtual is not None
    }
    for netdev in kernel.hardware.netdevs:
        if id(netdev) in represented:
            continue
        below = _INDEX.sub("", netdev.parent.rpartition("/")[2]) if "virtio" in netdev.parent else ""
        kind = below or netdev.kind or ("uplink" if netdev.phys_port_name else "function")
        # That of a sub-function has its function's address; others have one that their driver chose at random.
        virtual = any(function.index is not None and function.path == netdev.parent for function in kernel.hardware.pci)
        address = "" if virtual or kind in {"uplink", "bridge"} else f" {netdev.mac}"
        yield f"netdev {kind}:{address} {netdev.mtu} {netdev.namespace or 'at home'}"


def _nodes(folder: Path) -> Iterator[str]:
    for directory, _, names in os.walk(folder):
        for name in names:
            yield f"node {_INDEX.sub('', str((Path(directory) / name).relative_to(folder)))}"


def paths(root: Path) -> list[str]:
    """List every file and link below a sysfs, links with where they point, overrides with their value."""
    found: list[str] = []
    for directory, folders, names in os.walk(root):
        # A class that nothing is in any more is no leak, so directories count by what is in them.
        for name in (*folders, *names):
            path = Path(directory) / name
            if name in folders and not path.is_symlink():
                continue
            target = f" -> {path.readlink()}" if path.is_symlink() else ""
            value = f" = {path.read_text(encoding='utf-8').strip()}" if name == "driver_override" else ""
            found.append(f"{path.relative_to(root)}{target}{value}")
    return sorted(found)
