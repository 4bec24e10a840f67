"""Lists the sub-functions of a node that no object and no record names. Reads only.

The kernel may cut a list of ports short, with success (see PortUnlisted). So a port that is missing from the list is
asked for by its index, and is reported as before while the kernel does not answer.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from subfunction.api.node import ForeignSubFunction
from subfunction.errors import KernelError
from subfunction.kernel.address import Handle
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.port import Port

Numbered: TypeAlias = frozenset[tuple[str, int]]
"""Sub-functions as (parent, number)."""


@dataclasses.dataclass(frozen=True, slots=True)
class ForeignPorts:
    """Finds foreign sub-functions, and remembers the last ones by parent and port index, as many as the kernel has."""

    _shown: dict[Handle, dict[int, ForeignSubFunction]] = dataclasses.field(default_factory=dict)

    def list(self, devlink: Devlink, handle: Handle, named: Callable[[], Numbered]) -> tuple[ForeignSubFunction, ...]:
        """List a parent's foreign sub-functions; `named` returns those that an object or a record names now."""
        listed = [port for port in devlink.ports(handle) if port.is_sub_function]
        ours_by_name = named() if listed else frozenset()
        found = {port.index: _describe(port) for port in listed if not _is_named(port, ours_by_name)}
        # We delete a port before its record: an unnamed one may be a port of ours that was deleted since it was listed.
        again = {port.index for port in devlink.ports(handle)} if found else set()
        before = self._shown.get(handle, {})
        gone = {index for index in {*found, *before} - again if self._is_gone(devlink, handle, index)}
        shown = {index: each for index, each in {**before, **found}.items() if index not in gone}
        ours = {port.index for port in listed} - found.keys()
        self._shown[handle] = {index: each for index, each in shown.items() if index not in ours}
        return tuple(each for _, each in sorted(self._shown[handle].items()))

    @staticmethod
    def _is_gone(devlink: Devlink, handle: Handle, index: int) -> bool:
        try:
            port = devlink.port(handle, index)
        except KernelError:
            return False  # the port exists, and its firmware does not answer
        return port is None or not port.is_sub_function


def _is_named(port: Port, named: Numbered) -> bool:
    return port.controller == 0 and port.number is not None and (str(port.handle), port.number) in named


def _describe(port: Port) -> ForeignSubFunction:
    function = port.function
    mac = function.mac if function else None
    return ForeignSubFunction(
        port=port.index,
        number=port.number,
        controller=port.controller,
        mac_address=None if mac is None or mac.unset else str(mac),
        state="active" if function and function.active else "inactive",
    )
