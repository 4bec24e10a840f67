"""Which parent a sub-function is cut from: the one its record or status names, else the one its spec describes."""

from subfunction.api import ParentSelector, SubFunction
from subfunction.errors import ParentNotFound, UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import parent_of
from subfunction.kernel.pci import PciFunction
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode, PortFlavour
from subfunction_operator.flavours import makers


def find(wanted: SubFunction, devlink: Devlink, sysfs: Sysfs) -> Handle:
    """Find the parent; of those that fit a selector, the one with the most room.

    Raises:
        ParentNotFound: this node has none that fits.
        UnsupportedField: the spec names none, or in a form we do not know.
    """
    spec = wanted.spec.parent
    if (handle := named(wanted)) is not None:
        return handle
    if spec.netdev:
        handle = parent_of(sysfs, spec.netdev)
        if handle is None:
            hint = "See `devlink port show` for the PFs' netdevs; a name may have changed."
            raise ParentNotFound(f"this node has no netdev {spec.netdev} of a PCI function", hint=hint)
        return handle
    if spec.selector:
        return _selected(wanted, spec.selector, devlink, sysfs)
    raise UnsupportedField("spec.parent names no parent", hint='Set one, like {device: "pci/0000:05:00.0"}.')


def named(wanted: SubFunction) -> Handle | None:
    """Give the parent that status or spec names by its handle; None where it must be looked for.

    Raises:
        UnsupportedField: what it names is no handle.
    """
    text = wanted.status.parent or wanted.spec.parent.device
    return _parsed(text) if text else None


def _parsed(text: str) -> Handle:
    try:
        return Handle.parse(text)
    except ValueError as error:
        raise UnsupportedField(str(error)) from error


def _selected(wanted: SubFunction, selector: ParentSelector, devlink: Devlink, sysfs: Sysfs) -> Handle:
    functions = [PciFunction.at(sysfs, handle) for handle in devlink.instances() if handle.bus == "pci"]
    able = makers(wanted.spec.flavour)
    fitting = [
        function.handle
        for function in functions
        if function and _fits(selector, function) and (not able or function.driver in able)
    ]
    if not fitting:
        known = ", ".join(str(function.handle) for function in functions if function) or "none"
        raise ParentNotFound(
            f"no parent on this node fits the selector; its devlink instances on PCI are: {known}",
            hint="See `devlink dev show`, and vendor and numa_node in /sys/bus/pci/devices.",
        )
    return min(fitting, key=lambda handle: _last_choice(devlink, handle))


def _fits(selector: ParentSelector, function: PciFunction) -> bool:
    vendor = None if selector.vendor is None else f"0x{selector.vendor}"
    return (
        not function.virtual
        and selector.driver in {None, function.driver}
        and vendor in {None, function.vendor}
        and selector.numa_node in {None, function.numa_node}
    )


def _last_choice(devlink: Devlink, handle: Handle) -> tuple[bool, bool, int, Handle]:
    """Rank a parent, the best first: one that can make sub-functions now, then the one with the most room.

    A function without a physical port (a VF) or without a capacity (its firmware has no sub-functions) comes last.
    """
    ports = devlink.ports(handle)
    able = devlink.eswitch_mode(handle) is EswitchMode.SWITCHDEV and any(
        port.flavour is PortFlavour.PHYSICAL for port in ports
    )
    capacity = devlink.capacity(handle)
    room = (capacity or 0) - sum(port.is_sub_function for port in ports)
    return not able, capacity is None, -room, handle
