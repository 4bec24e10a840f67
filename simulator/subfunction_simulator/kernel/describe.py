"""This module shows the kernel's ports in the lines of iproute2, for a person and for the demo."""

from subfunction.kernel.uapi import PortFlavour
from subfunction_simulator.kernel.devlink.instance import Port
from subfunction_simulator.kernel.devlink.port_function import PortSubFunction
from subfunction_simulator.kernel.devlink.virtualport import VirtualPort
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink.uapi import PORT_TYPE_ETH

_FLAVOURS = {
    PortFlavour.PHYSICAL: "physical",
    PortFlavour.VIRTUAL: "virtual",
    PortFlavour.PCI_SF: "pcisf",
    PortFlavour.PCI_VF: "pcivf",
}


def describe(hardware: Hardware) -> list[str]:
    """Give the lines that `devlink port show` (6.15) prints for all ports."""
    lines = []
    for instance in hardware.instances.values():
        for _, port in sorted(instance.ports.items()):
            lines.append(_port(port))
            if port.sub_function is not None:
                lines.append(_function(port.sub_function))
            if port.virtual is not None:
                lines.append(f"  function: hw_addr {port.virtual.mac}{_capabilities(port.virtual)}")
    return lines


def _port(port: Port) -> str:
    words = [f"{port.instance.handle}/{port.index}: type {'eth' if port.type == PORT_TYPE_ETH else 'notset'}"]
    if port.netdev is not None and port.netdev.namespace is None:
        words.append(f"netdev {port.netdev.name}")
    words.append(f"flavour {_FLAVOURS[port.flavour]}")
    if port.number is not None:
        words.append(f"port {port.number}")
    if port.sub_function is not None:
        words.append(f"controller 0 pfnum {port.pf} sfnum {port.sub_function.number}")
    if port.virtual is not None:
        words.append(f"controller 0 pfnum {port.pf} vfnum {port.virtual.index} external false")
    words.append("splittable false")
    return " ".join(words)


def _capabilities(virtual: VirtualPort) -> str:
    names = ("roce", "migratable", "ipsec_crypto", "ipsec_packet") if virtual.supported else ()
    on = (bool(virtual.capabilities >> bit & 1) for bit in range(len(names)))
    return "".join(f" {name} {'enable' if each else 'disable'}" for name, each in zip(names, on, strict=True))


def _function(function: PortSubFunction) -> str:
    state = "active" if function.active else "inactive"
    opstate = "attached" if function.attached else "detached"
    words = [f"  function: hw_addr {function.mac} state {state} opstate {opstate}"]
    if function.managed:
        words.append(f"roce {'enable' if function.roce else 'disable'} max_io_eqs {function.max_io_eqs}")
    if function.nested is not None:
        words.append(f"nested_devlink {function.nested}")
    return " ".join(words)
