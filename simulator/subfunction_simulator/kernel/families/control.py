"""The family `nlctrl` tells which generic netlink families there are, with their multicast groups."""

from subfunction.kernel.uapi import ControlAttribute, ControlCommand, GroupAttribute
from subfunction_simulator.kernel.families.vdpa import VDPA_ID
from subfunction_simulator.kernel.netlink import uapi, wire
from subfunction_simulator.kernel.netlink.announce import CONFIG_GROUP, DEVLINK_ID
from subfunction_simulator.kernel.netlink.wire import Attributes, Refusal, Request

ENOENT, EOPNOTSUPP = 2, 95
NLCTRL_ID = 0x10
_NLCTRL_GROUP = 0x10
_VERSIONS = {"nlctrl": 2, "devlink": 1, "vdpa": 1}


class Control:
    """The family answers look-ups of families."""

    def __init__(self, *, devlink: bool, vdpa: bool) -> None:
        self._families: dict[str, tuple[int, dict[str, int]]] = {"nlctrl": (NLCTRL_ID, {"notify": _NLCTRL_GROUP})}
        if devlink:
            self._families["devlink"] = (DEVLINK_ID, {"config": CONFIG_GROUP})
        if vdpa:
            self._families["vdpa"] = (VDPA_ID, {})

    def name(self, number: int) -> str | None:
        """Give the name of a family."""
        return next((name for name, (other, _) in self._families.items() if other == number), None)

    def answer(self, request: Request) -> list[bytes]:
        """Give the bodies that answer a request.

        Raises:
            Refusal: no such command or family.
        """
        if request.command != ControlCommand.GETFAMILY:
            raise Refusal(EOPNOTSUPP)
        if request.is_dump:
            return [self._body(name) for name in self._families]
        return [self._body(self._find_asked(request.attributes))]

    def _find_asked(self, attributes: Attributes) -> str:
        number = attributes.number(ControlAttribute.FAMILY_ID, "=H")
        name = attributes.text(ControlAttribute.FAMILY_NAME) if number is None else self.name(number)
        if name not in self._families:
            raise Refusal(ENOENT)
        return name

    def _body(self, name: str) -> bytes:
        number, groups = self._families[name]
        array = (
            wire.nest(index, wire.u32(GroupAttribute.ID, group), wire.text(GroupAttribute.NAME, title))
            for index, (title, group) in enumerate(groups.items(), start=1)
        )
        return wire.generic(
            ControlCommand.NEWFAMILY,
            wire.text(ControlAttribute.FAMILY_NAME, name),
            wire.u16(ControlAttribute.FAMILY_ID, number),
            wire.u32(uapi.CTRL_ATTR_VERSION, _VERSIONS[name]),
            wire.u32(uapi.CTRL_ATTR_HDRSIZE, 0),
            wire.u32(uapi.CTRL_ATTR_MAXATTR, 10),
            *([wire.nest(ControlAttribute.MCAST_GROUPS, *array)] if groups else []),
            version=2,
        )
