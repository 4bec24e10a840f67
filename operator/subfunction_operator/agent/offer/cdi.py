"""Renders the CDI file of a device (Container Device Interface): one file for each device. Pure.

The CDI name ends in a digest of the file's content, because names are replayed and cached: the kubelet gives an old
answer to a container that restarts, and a runtime may have cached an old file. A changed device has another name, and
the old name resolves to nothing. The file has the paths of device nodes and no numbers: the runtime reads each number
when a container starts, as it does for the nodes in Allocate's answer.
Read in `tags.cncf.io/container-device-interface` 1.1.0.
"""

import hashlib
from typing import Final

import msgspec

from subfunction.api.subfunction import GROUP
from subfunction.state.records import DeviceNode, Record
from subfunction_operator.agent.model.observation import NodePolicy, Observation

KIND: Final = f"{GROUP}/sf"

_DIGITS: Final = "0.5.0"
"""The first version in which a device's name may begin with a digit, and in which a node has a `hostPath`."""
_NET_DEVICES: Final = "1.1.0"
_OLDEST: Final = "0.3.0"


class _Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    path: str
    host_path: str = ""
    permissions: str


class _NetDevice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    host_interface_name: str
    name: str


class _Edits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    device_nodes: tuple[_Node, ...] = ()
    net_devices: tuple[_NetDevice, ...] = ()


class _Device(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    container_edits: _Edits


class _File(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cdi_version: str
    kind: str
    devices: tuple[_Device, ...]


def choose_delivery(record: Record, seen: Observation, policy: NodePolicy) -> Record:
    """Return the record with its device nodes in Allocate's answer or in the CDI file, never in both."""
    nodes = record.nodes
    by_cdi = nodes if policy.device_nodes == "cdi" else ()
    moved = record.resource in policy.net_devices and seen.netdev is not None
    chosen = msgspec.structs.replace(
        record,
        nodes=() if by_cdi else nodes,
        cdi_nodes=by_cdi,
        cdi_netdev=seen.netdev.name if moved and seen.netdev is not None else "",
    )
    edits = _edits(chosen)
    name = None if edits == _Edits() else f"{KIND}={record.uid}-{_digest(edits)}"
    return msgspec.structs.replace(chosen, cdi_name=name)


def render(record: Record) -> str | None:
    """Return the CDI file of a record, in the lowest CDI version with all that it uses; None if it needs no file."""
    if record.cdi_name is None:
        return None
    name, edits = record.cdi_name.partition("=")[2], _edits(record)
    file = _File(cdi_version=_version(name, edits), kind=KIND, devices=(_Device(name=name, container_edits=edits),))
    return msgspec.json.format(msgspec.json.encode(file), indent=1).decode() + "\n"


def _version(name: str, edits: _Edits) -> str:
    # A runtime refuses a file whose version is lower than what it uses, or higher than the runtime knows.
    if edits.net_devices:
        return _NET_DEVICES
    digits = name[0] in "0123456789"
    return _DIGITS if digits or any(node.host_path for node in edits.device_nodes) else _OLDEST


def _edits(record: Record) -> _Edits:
    netdev = record.cdi_netdev
    return _Edits(
        device_nodes=tuple(_node(node) for node in record.cdi_nodes),
        # The container gets it under the same name: its environment has that name, and the netdev comes back with it.
        net_devices=(_NetDevice(host_interface_name=netdev, name=netdev),) if netdev else (),
    )


def _node(node: DeviceNode) -> _Node:
    return _Node(
        path=node.container_path,
        host_path=node.host_path if node.host_path != node.container_path else "",
        permissions=node.permissions,
    )


def _digest(edits: _Edits) -> str:
    return hashlib.sha256(msgspec.json.encode(edits)).hexdigest()[:8]
