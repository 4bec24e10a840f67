"""The family `vdpa` has commands on management devices and on vDPA devices."""

import errno
from collections.abc import Callable
from typing import Final

from subfunction.kernel.address import Handle, Mac
from subfunction_simulator.kernel.faults import Operation
from subfunction_simulator.kernel.hardware import Hardware
from subfunction_simulator.kernel.netlink import uapi, wire
from subfunction_simulator.kernel.netlink.uapi import VdpaAttribute, VdpaCommand
from subfunction_simulator.kernel.netlink.wire import Attributes, Refusal, Request
from subfunction_simulator.kernel.vdpa.vdpabus import ManagementDevice, VdpaDevice, Wish

VDPA_ID: Final = 0x1B
_LOWEST_MTU: Final = 68
_LINK_UP: Final = 1
_LONGEST_NAME: Final = 200
"""The kernel has no such limit; the file system that sysfs is on here has one."""


class Vdpa:
    """The family answers one request after the other: each waits while a deletion waits for a user."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware
        self._dump: dict[int, Callable[[VdpaDevice], bytes]] = {
            VdpaCommand.DEV_GET: _device,
            VdpaCommand.DEV_CONFIG_GET: _config,
        }
        self._do: dict[int, Callable[[Attributes], list[bytes]]] = {
            VdpaCommand.MGMTDEV_GET: lambda asked: [_management(self._find_management(asked))],
            VdpaCommand.DEV_NEW: self._new,
            VdpaCommand.DEV_DEL: self._delete,
            VdpaCommand.DEV_GET: lambda asked: [_device(self._find_device(asked))],
            VdpaCommand.DEV_CONFIG_GET: lambda asked: [_config(self._find_device(asked))],
        }

    def answer(self, request: Request) -> list[bytes]:
        """Give the bodies that answer a request.

        Raises:
            Refusal: as the kernel refuses it.
        """
        self._hardware.faults.strike(Operation.VDPA_REQUEST)
        vdpa = self._hardware.vdpa
        if request.is_dump:
            if request.command == VdpaCommand.MGMTDEV_GET:
                return [_management(management) for management in vdpa.management.values()]
            show = self._dump.get(request.command)
            if show is None:
                raise Refusal(errno.EOPNOTSUPP)
            return [show(device) for device in vdpa.bus]
        do = self._do.get(request.command)
        if do is None:
            raise Refusal(errno.EOPNOTSUPP)
        return do(request.attributes)

    def _find_management(self, attributes: Attributes) -> ManagementDevice:
        bus, name = (attributes.text(VdpaAttribute[f"MGMTDEV_{key}_NAME"]) for key in ("BUS", "DEV"))
        if name is None:
            raise Refusal(errno.EINVAL)
        management = self._hardware.vdpa.management.get(Handle(bus, name)) if bus else None
        if management is None:
            raise Refusal(errno.ENODEV, "vdpa: Fail to find the specified management device")
        return management

    def _find_device(self, attributes: Attributes) -> VdpaDevice:
        name = attributes.text(VdpaAttribute.DEV_NAME)
        if name is None:
            raise Refusal(errno.EINVAL)
        device = self._hardware.vdpa.bus.find(name)
        if device is None:
            raise Refusal(errno.ENODEV, "vdpa: device not found")
        return device

    def _new(self, attributes: Attributes) -> list[bytes]:
        name = attributes.text(VdpaAttribute.DEV_NAME)
        if not name or name in {".", ".."} or len(name) > _LONGEST_NAME:
            raise Refusal(errno.EINVAL)
        wish = _wish(attributes)
        management = self._find_management(attributes)
        self._hardware.faults.strike(Operation.VDPA_ADD)
        self._hardware.vdpa.add(name.replace("/", "!"), management, wish)
        return []

    def _delete(self, attributes: Attributes) -> list[bytes]:
        device = self._find_device(attributes)
        self._hardware.faults.strike(Operation.VDPA_DELETE)
        self._hardware.finish(self._hardware.vdpa.delete(device))
        return []


def _wish(attributes: Attributes) -> Wish:
    mac = attributes.octets(VdpaAttribute.DEV_NET_CFG_MACADDR)
    mtu = attributes.number(VdpaAttribute.DEV_NET_CFG_MTU, "=H")
    queue_pairs = attributes.number(VdpaAttribute.DEV_NET_CFG_MAX_VQP, "=H")
    if mac is not None and len(mac) != 6:
        raise Refusal(errno.EINVAL, wire.POLICY)
    if mtu is not None and mtu < _LOWEST_MTU:
        raise Refusal(errno.ERANGE, "integer out of range")
    if queue_pairs == 0:
        raise Refusal(errno.EINVAL, "At least one pair of VQs is required")
    features = attributes.number(VdpaAttribute.DEV_FEATURES, "=Q")
    return Wish(mac=Mac(mac) if mac else None, mtu=mtu, queue_pairs=queue_pairs, features=features)


def _management(management: ManagementDevice) -> bytes:
    return wire.generic(
        VdpaCommand.MGMTDEV_NEW,
        wire.text(VdpaAttribute.MGMTDEV_BUS_NAME, management.handle.bus),
        wire.text(VdpaAttribute.MGMTDEV_DEV_NAME, management.handle.device),
        wire.u64(VdpaAttribute.MGMTDEV_SUPPORTED_CLASSES, 1 << uapi.VIRTIO_ID_NET),
        wire.u32(VdpaAttribute.DEV_MGMTDEV_MAX_VQS, 2 * management.queue_pairs + 1),
        wire.u64(VdpaAttribute.DEV_SUPPORTED_FEATURES, management.features),
    )


def _device(device: VdpaDevice) -> bytes:
    return wire.generic(
        VdpaCommand.DEV_NEW,
        wire.text(VdpaAttribute.DEV_NAME, device.name),
        wire.text(VdpaAttribute.MGMTDEV_BUS_NAME, device.management.handle.bus),
        wire.text(VdpaAttribute.MGMTDEV_DEV_NAME, device.management.handle.device),
        wire.u32(VdpaAttribute.DEV_ID, uapi.VIRTIO_ID_NET),
        wire.u32(VdpaAttribute.DEV_VENDOR_ID, 0x15B3),
        wire.u32(VdpaAttribute.DEV_MAX_VQS, 2 * device.queue_pairs + 1),
        wire.u16(VdpaAttribute.DEV_MAX_VQ_SIZE, 256),
    )


def _config(device: VdpaDevice) -> bytes:
    parts = [wire.text(VdpaAttribute.DEV_NAME, device.name), wire.u32(VdpaAttribute.DEV_ID, uapi.VIRTIO_ID_NET)]
    parts.append(wire.u64(VdpaAttribute.DEV_FEATURES, device.features))
    # A value stands here only if the device has the feature that it is a value of.
    if device.features >> uapi.VIRTIO_NET_F_MTU & 1:
        parts.append(wire.u16(VdpaAttribute.DEV_NET_CFG_MTU, device.mtu))
    if device.features >> uapi.VIRTIO_NET_F_MAC & 1:
        parts.append(wire.attribute(VdpaAttribute.DEV_NET_CFG_MACADDR, device.mac.octets))
    if device.features >> uapi.VIRTIO_NET_F_STATUS & 1:
        parts.append(wire.u16(VdpaAttribute.DEV_NET_STATUS, _LINK_UP))
    if device.features >> uapi.VIRTIO_NET_F_MQ & 1:
        parts.append(wire.u16(VdpaAttribute.DEV_NET_CFG_MAX_VQP, device.queue_pairs))
    return wire.generic(VdpaCommand.DEV_CONFIG_GET, *parts)
