"""Transmit rates limit the leaf of each port, and the groups (nodes) that a user makes above them."""

import dataclasses
import errno

from subfunction.kernel.uapi import Attribute
from subfunction_simulator.kernel.devlink.instance import EOPNOTSUPP, Instance, Port
from subfunction_simulator.kernel.netlink import uapi, wire
from subfunction_simulator.kernel.netlink.wire import EINVAL, Attributes, Refusal

_MEGABIT = 125_000
"""Bytes a second: mlx5's unit."""
_LEAF, _NODE = 0, 1


@dataclasses.dataclass(slots=True, eq=False)
class Rate:
    """A rate limits what is sent, in bytes a second; 0 is no limit."""

    instance: Instance
    link_speed: int
    """In Mbit/s."""
    share: int = 0
    maximum: int = 0
    parent: "Node | None" = None

    def attributes(self) -> bytes:
        """Encode it."""
        attribute = uapi.Attribute
        parts = [
            self.instance.handle_attributes(),
            self.identity(),
            wire.u64(attribute.RATE_TX_SHARE, self.share),
            wire.u64(attribute.RATE_TX_MAX, self.maximum),
            wire.u32(attribute.RATE_TX_PRIORITY, 0),
            wire.u32(attribute.RATE_TX_WEIGHT, 0),
        ]
        if self.parent is not None:
            parts.append(wire.text(attribute.RATE_PARENT_NODE_NAME, self.parent.name))
        return b"".join(parts)

    def identity(self) -> bytes:
        """Encode what tells it from others."""
        raise NotImplementedError

    def change(self, asked: Attributes, nodes: "dict[str, Node]") -> None:
        """Apply share, maximum and parent, in this order.

        Raises:
            Refusal: what was applied before stays.
        """
        attribute = uapi.Attribute
        share, maximum = (asked.number(each, "=Q") for each in (attribute.RATE_TX_SHARE, attribute.RATE_TX_MAX))
        if share is not None:
            self.share = self._validate(share)
        if maximum is not None:
            self.maximum = self._validate(maximum)
        kind = "leaf" if isinstance(self, Leaf) else "node"
        for number, word in ((attribute.RATE_TX_PRIORITY, "priority"), (attribute.RATE_TX_WEIGHT, "weight")):
            if number in asked:
                raise Refusal(EOPNOTSUPP, f"mlx5_core: TX {word} set isn't supported for the {kind}s")
        name = asked.text(attribute.RATE_PARENT_NODE_NAME)
        if name is not None:
            if name and name not in nodes:
                raise Refusal(errno.ENODEV)
            self.parent = nodes[name] if name else None

    def _validate(self, value: int) -> int:
        if value % _MEGABIT:
            raise Refusal(EINVAL, "mlx5_core: TX rate value not in link speed units of 1Mbps")
        if value // _MEGABIT > self.link_speed:
            raise Refusal(EINVAL, "mlx5_core: TX rate value exceed link maximum speed")
        return value


@dataclasses.dataclass(slots=True, eq=False)
class Leaf(Rate):
    """A leaf is the rate of a port, and comes and goes with it."""

    port: Port = dataclasses.field(kw_only=True)

    def identity(self) -> bytes:
        """Encode the port's index."""
        return wire.u16(uapi.Attribute.RATE_TYPE, _LEAF) + wire.u32(Attribute.PORT_INDEX, self.port.index)


@dataclasses.dataclass(slots=True, eq=False)
class Node(Rate):
    """A node is a group that a user made by name."""

    name: str = dataclasses.field(kw_only=True)

    def identity(self) -> bytes:
        """Encode the name."""
        name = wire.text(uapi.Attribute.RATE_NODE_NAME, self.name)
        return wire.u16(uapi.Attribute.RATE_TYPE, _NODE) + name


class Rates:
    """The rates of one instance are its leaves and its nodes."""

    def __init__(self, instance: Instance, link_speed: int) -> None:
        self._instance = instance
        self._link_speed = link_speed
        self.nodes: dict[str, Node] = {}
        self._leaves: dict[int, Leaf] = {}
        """By the index of the port."""

    def all(self) -> list[Rate]:
        """List leaves and nodes."""
        return [*self._leaves.values(), *self.nodes.values()]

    def leaf(self, port: Port) -> Leaf | None:
        """Give the leaf of a port."""
        return self._leaves.get(port.index)

    def add_leaf(self, port: Port) -> None:
        """Make the leaf of a port."""
        self._leaves[port.index] = leaf = Leaf(self._instance, self._link_speed, port=port)
        self._instance.announcer.tell(uapi.Command.RATE_NEW, leaf.attributes())

    def remove_leaf(self, port: Port) -> None:
        """Take it away."""
        leaf = self._leaves.pop(port.index, None)
        if leaf is not None:
            self._instance.announcer.tell(uapi.Command.RATE_DEL, leaf.attributes())

    def find(self, attributes: Attributes) -> Rate:
        """Find what a request names."""
        name = attributes.text(uapi.Attribute.RATE_NODE_NAME)
        if name is not None and name in self.nodes:
            return self.nodes[name]
        index = attributes.number(Attribute.PORT_INDEX, "=I")
        leaf = self._leaves.get(index) if index is not None else None
        if leaf is None:
            raise Refusal(EINVAL if name is None and index is None else errno.ENODEV)
        return leaf

    def change(self, attributes: Attributes) -> None:
        """Change a leaf or a node (`devlink port function rate set`)."""
        rate = self.find(attributes)
        rate.change(attributes, self.nodes)
        self._instance.announcer.tell(uapi.Command.RATE_NEW, rate.attributes())

    def add_node(self, attributes: Attributes) -> None:
        """Make a node (`devlink port function rate add`)."""
        name = attributes.text(uapi.Attribute.RATE_NODE_NAME)
        if not name or name.isdecimal():
            raise Refusal(EINVAL)
        if name in self.nodes:
            raise Refusal(errno.EEXIST)
        node = Node(self._instance, self._link_speed, name=name)
        node.change(attributes, self.nodes)
        self.nodes[name] = node
        self._instance.announcer.tell(uapi.Command.RATE_NEW, node.attributes())

    def remove_node(self, attributes: Attributes) -> None:
        """Take a node away that nothing belongs to any more."""
        node = self.nodes.get(attributes.text(uapi.Attribute.RATE_NODE_NAME) or "")
        if node is None:
            raise Refusal(errno.ENODEV)
        if any(rate.parent is node for rate in self.all()):
            raise Refusal(errno.EBUSY, "Node has children. Cannot delete node.")
        del self.nodes[node.name]
        self._instance.announcer.tell(uapi.Command.RATE_DEL, node.attributes())
