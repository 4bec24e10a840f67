"""Renders the device-info file of a device, which CNI plugins and KubeVirt read. Pure.

It follows the Device Information Specification 1.1.0 of the Network Plumbing Working Group, which has PCI functions and
vDPA devices. Auxiliary and mediated devices have no file: Multus passes on their device id even so.
"""

from typing import Final

import msgspec

from subfunction.api.subfunction import GROUP
from subfunction.kernel.address import Handle
from subfunction.state.claims import PortClaim, VirtualFunctionClaim
from subfunction.state.records import Record
from subfunction_operator.agent.model.observation import Observation

_VERSION: Final = "1.1.0"
_OWNER: Final = f"{GROUP}/uid"
"""A key of our own with the uid of the owner. All readers of these files ignore keys that they do not know."""


class _Pci(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    pci_address: str
    pf_pci_address: str
    representor_device: str | None = None


class _Vdpa(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="kebab"):
    """A vDPA device; despite its name, `parent_device` is the vDPA device itself."""

    parent_device: str
    driver: str
    path: str
    pf_pci_address: str
    representor_device: str | None = None


class _Info(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    type: str
    version: str
    pci: _Pci | None = None
    vdpa: _Vdpa | None = None
    owner: str = msgspec.field(name=_OWNER)


class _Owned(msgspec.Struct, frozen=True):
    owner: str | None = msgspec.field(name=_OWNER, default=None)


_OWNED: Final = msgspec.json.Decoder(_Owned)


def file_name(resource: str, device_id: str) -> str:
    """Return the file's name, which its readers derive from resource and device id in the same way."""
    return f"{resource.replace('/', '-')}-{device_id.replace('/', '-')}-device.json"


def read_owner(text: str | bytes | None) -> str | None:
    """Return the uid of the SubFunction that a file belongs to; None if the file is not ours."""
    if text is None:
        return None
    try:
        return _OWNED.decode(text).owner
    except msgspec.DecodeError:
        return None


def render(record: Record, seen: Observation) -> str | None:
    """Return the device-info file of a record; None if the specification has no type for such a device."""
    info = _info(record, seen)
    return None if info is None else msgspec.json.format(msgspec.json.encode(info), indent=1).decode() + "\n"


def _info(record: Record, seen: Observation) -> _Info | None:
    representor = seen.representor.name if seen.representor else None
    function = Handle.parse(record.claim.parent).device
    match record.claim:
        case VirtualFunctionClaim(address=address):
            pci = _Pci(pci_address=address, pf_pci_address=function, representor_device=representor)
            return _Info(type="pci", version=_VERSION, pci=pci, owner=record.uid)
        case PortClaim(vdpa=claimed) if claimed is not None and (user := _user_end(record)) is not None:
            driver, path = user
            vdpa = _Vdpa(
                parent_device=claimed.name,
                driver=driver,
                path=path,
                pf_pci_address=function,
                representor_device=representor,
            )
            return _Info(type="vdpa", version=_VERSION, vdpa=vdpa, owner=record.uid)
        case _:
            return None


def _user_end(record: Record) -> tuple[str, str] | None:
    """Return the driver of a vDPA device (`vhost`, `virtio`) with the path of its device node or virtio device."""
    for node in record.all_nodes:
        if node.container_path.startswith("/dev/vhost-vdpa-"):
            return "vhost", node.container_path
    names = (path.rpartition("/")[2] for path in record.witness.inodes)
    virtio = next((name for name in names if name.startswith("virtio")), None)
    return None if virtio is None else ("virtio", f"/sys/bus/virtio/devices/{virtio}")
