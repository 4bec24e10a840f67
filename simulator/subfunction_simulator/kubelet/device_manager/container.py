"""A container is given the answers of its resources, put together as the kubelet does."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from subfunction.kubelet import deviceplugin_pb2 as api
from subfunction_simulator.kubelet.device_manager.devices import Allocation
from subfunction_simulator.kubelet.pods import Container, DeviceNode, Running


def merge(container: Container, held: Iterable[Allocation]) -> Running:
    """Put the answers of several resources together; where two disagree, the first one stands."""
    env: dict[str, str] = {}
    devices: dict[str, api.DeviceSpec] = {}
    mounts: dict[str, api.Mount] = {}
    cdi: dict[str, None] = {}
    for allocation in held:
        for key, value in allocation.answer.envs.items():
            env.setdefault(key, value)
        for device in allocation.answer.devices:
            devices.setdefault(device.container_path, device)
        for mount in allocation.answer.mounts:
            mounts.setdefault(mount.container_path, mount)
        cdi |= dict.fromkeys(each.name for each in allocation.answer.cdi_devices)
    return Running(
        env=dict(sorted({**env, **container.env}.items())),
        devices=tuple(_node(device) for device in devices.values()),
        mounts=tuple((mount.container_path, mount.host_path, mount.read_only) for mount in mounts.values()),
        cdi=tuple(cdi),
    )


def _node(device: api.DeviceSpec) -> DeviceNode:
    try:
        status = Path(device.host_path).stat()
    except OSError:
        return DeviceNode(device.container_path, device.host_path, device.permissions, exists=False, numbers=None)
    numbers = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if stat.S_ISCHR(status.st_mode) else None
    return DeviceNode(device.container_path, device.host_path, device.permissions, exists=True, numbers=numbers)
