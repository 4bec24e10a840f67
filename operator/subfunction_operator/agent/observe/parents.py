"""Finds a sub-function's parent by the handle, netdev or selector of its spec.

The handle in the status counts where it still fits what the spec asks for: PCI addresses move when a card is added.
A selector's candidates are found in sysfs, which waits for no card. Each card is then asked for its rank in its own
thread (`reconcile/dispatcher.py`), so that one that refuses or does not answer hides no other one.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec

from subfunction.api.subfunction import Flavour, ParentSelector, SubFunction
from subfunction.errors import ParentNotFound, SubFunctionError, UnsupportedField
from subfunction.kernel.address import Handle
from subfunction.kernel.bus.mdev import list_types
from subfunction.kernel.bus.pci import PciFunction, list_physical_functions
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netdev import find_parent
from subfunction.kernel.sysfs import Sysfs
from subfunction.kernel.uapi import EswitchMode
from subfunction_operator.agent.flavours.drivers import DRIVERS, drivers_for
from subfunction_operator.agent.model.number_ranges import NumberRanges

_MODES = (EswitchMode.SWITCHDEV, EswitchMode.SWITCHDEV_INACTIVE)
"""The modes in which a parent makes sub-functions, the best first."""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Rank:
    """The order of parents that fit, the best first: by e-switch mode, then by the room that is left."""

    mode: int
    unknown: bool
    """Whether the driver reports no capacity."""
    negative_room: int
    handle: Handle


def named_parent(wanted: SubFunction, *, deleting: bool = False) -> Handle | None:
    """Return the parent that the spec names by its handle; None where it must be searched for.

    One that is being deleted is removed from where its status shows it, or is not there any more.

    Raises:
        UnsupportedField: the text is not a devlink handle.
    """
    text = (wanted.status.parent if deleting else None) or wanted.spec.parent.device
    return _parse(text) if text else None


def _parse(text: str) -> Handle:
    try:
        return Handle.parse(text)
    except ValueError as error:
        raise UnsupportedField(str(error)) from error


def list_candidates(wanted: SubFunction, sysfs: Sysfs) -> tuple[Handle, ...]:
    """List the functions that may be the parent of one that names none by its handle; from sysfs alone.

    Raises:
        ParentNotFound: this node has no function that fits.
        UnsupportedField: the spec names none.
    """
    spec = wanted.spec.parent
    if spec.netdev:
        handle = find_parent(sysfs, spec.netdev)
        if handle is None:
            raise _no_function(spec.netdev, sysfs)
        return (handle,)
    if not spec.selector:
        raise UnsupportedField("spec.parent names no parent", hint='Set one, like {device: "pci/0000:05:00.0"}.')
    if (former := _former(wanted, spec.selector, sysfs)) is not None:
        return (former,)
    functions = list_physical_functions(sysfs)
    able = [function for function in functions if _is_able(wanted.spec.flavour, function, sysfs)]
    fitting = tuple(function.handle for function in able if _fits(spec.selector, function))
    if not fitting:
        raise _none_fits([function.handle for function in functions if function in able or function.driver in DRIVERS])
    return fitting


def _former(wanted: SubFunction, selector: ParentSelector, sysfs: Sysfs) -> Handle | None:
    """Return the parent that the status shows if it fits the selector still; its driver may not be bound yet."""
    handle = _parse(wanted.status.parent) if wanted.status.parent else None
    function = PciFunction.at(sysfs, handle) if handle is not None else None
    if function is None or function.virtual:
        return None
    if function.driver is None:
        return handle if _fits(msgspec.structs.replace(selector, driver=None), function) else None
    able = _is_able(wanted.spec.flavour, function, sysfs)
    return handle if able and _fits(selector, function) else None


def rank_parent(devlink: Devlink, handle: Handle, ranges: NumberRanges) -> Rank | None:
    """Ask a parent for its rank; None where it has no devlink instance. `ranges` are the numbers to choose from.

    Raises:
        KernelError, MalformedReply: the card refused, or answered something else.
    """
    if not devlink.exists(handle):
        return None
    mode, capacity = devlink.eswitch_mode(handle), devlink.capacity(handle)
    ours = [port for port in devlink.ports(handle) if port.is_sub_function and not port.controller]
    place = _MODES.index(mode) if mode in _MODES else len(_MODES)
    room = (ranges.limit(handle, capacity, [port.number for port in ours]) or 0) - len(ours)
    return Rank(place, capacity is None, -room, handle)


def choose_parent(ranked: Mapping[Handle, Rank | SubFunctionError | None]) -> Handle:
    """Choose the best of those that answered. Pure.

    Raises:
        ParentNotFound: none of them has a devlink instance.
        SubFunctionError: none answered; the error of the first.
    """
    answers = [each for each in ranked.values() if isinstance(each, Rank)]
    if answers:
        return min(answers).handle
    for each in ranked.values():
        if isinstance(each, SubFunctionError):
            raise each
    raise _none_fits(tuple(ranked))


def _no_function(netdev: str, sysfs: Sysfs) -> ParentNotFound:
    slaves = sysfs.read(f"class/net/{netdev}/bonding/slaves")
    if slaves is None:
        hint = "See `devlink port show` for the PFs' netdevs; a name may have changed."
        return ParentNotFound(f"this node has no netdev {netdev} of a PCI function", hint=hint)
    return ParentNotFound(
        f"netdev {netdev} is a bond, and sub-functions are made on a PF",
        hint=f"Name one of its ports: {', '.join(slaves.split()) or 'it has none'}.",
    )


def _none_fits(known: Sequence[Handle]) -> ParentNotFound:
    names = ", ".join(map(str, known)) or "none"
    return ParentNotFound(
        f"no parent on this node fits the selector; the functions that could be one are: {names}",
        hint="See `devlink dev show`, and vendor and numa_node in /sys/bus/pci/devices.",
    )


def _is_able(flavour: Flavour, function: PciFunction, sysfs: Sysfs) -> bool:
    """Return whether a function can be a parent of a flavour at all: most of a node's functions are no NICs."""
    drivers = drivers_for(flavour)
    if drivers:
        return function.driver in drivers
    return sysfs.read(f"{function.path}/sriov_numvfs") is not None or bool(list_types(sysfs, function.handle))


def _fits(selector: ParentSelector, function: PciFunction) -> bool:
    vendor = None if selector.vendor is None else f"0x{selector.vendor}"
    return (
        selector.driver in {None, function.driver}
        and vendor in {None, function.vendor}
        and selector.numa_node in {None, function.numa_node}
    )
