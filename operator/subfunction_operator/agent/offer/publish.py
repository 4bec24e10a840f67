"""Publishes a device for allocation, and never rewrites what a pod already received. Pure."""

import dataclasses
from typing import Final

import msgspec

from subfunction.api.reasons import Reason
from subfunction.kernel.bus.character_device import CharacterDevice
from subfunction.kernel.bus.mdev import MediatedDevice
from subfunction.kernel.bus.pci import VirtualFunction
from subfunction.kernel.bus.vfio import VfioNodes
from subfunction.state.records import DeviceNode, Health, Record, State, Witness
from subfunction_operator.agent.model.decision import Decision, RefreshUsage, Settled, Steps
from subfunction_operator.agent.model.observation import NodePolicy, Observation
from subfunction_operator.agent.model.steps import Step, StoreRecord
from subfunction_operator.agent.offer.cdi import choose_delivery
from subfunction_operator.agent.offer.withdraw import withdraw_steps

_MADE_ANEW: Final = "its devices were made anew while a pod has the old ones"
_DELETE_POD: Final = "Delete that pod; its successor gets a device that is whole."
_STALE_ALLOCATION: Final = Health(reason=Reason.STALE_ALLOCATION, message=_MADE_ANEW)


@dataclasses.dataclass(frozen=True, slots=True)
class Publication:
    """What to publish: the record as it is, and the record with the device as it was observed.

    `changes` are steps to run before the record is written, `pending` says in words what must wait until a pod ends.
    """

    old: Record
    new: Record
    changes: tuple[Step, ...] = ()
    pending: str = ""


def plan_publish(publication: Publication, seen: Observation, policy: NodePolicy) -> Decision:
    """Plan the record that publishes the device, after the changes.

    Nothing is written where the record is equal already. Where a pod has a device that was published before and has
    changed, the record becomes unhealthy (StaleAllocation) and keeps what the pod has.
    """
    old, new = publication.old, choose_delivery(_with_location(publication.new, seen), seen, policy)
    if old.witness.inodes and _what_pods_get(new) != _what_pods_get(old):
        if not seen.usage.refreshed:
            return RefreshUsage()
        if seen.in_use and not _is_unchanged_for_pod(old, new, seen):
            return plan_stale(publication, seen)
        if seen.in_use:
            new = old  # what the pod did not receive (rdma_cm was loaded meanwhile) is for the next pod
    if old.state is State.READY and old.cdi_name not in {None, new.cdi_name}:
        return Steps(withdraw_steps(old))  # its CDI file is about to be replaced, under another name
    same = new.device_id == old.device_id
    # `remade` ends only once the new device was published and is found unused: a pod that still has the former one is
    # found by the uid in the checkpoint, which is read only where the record has a device id again. Until then the
    # record is unhealthy (StaleAllocation), so that no other pod gets the device and that pod's container cannot start.
    released = same and old.state is State.READY and not seen.in_use
    remade = old.remade and not released
    health = _STALE_ALLOCATION if remade else Health(healthy=True)
    published = msgspec.structs.replace(new.with_state(State.READY, health), remade=remade)
    steps = (*publication.changes, *([StoreRecord(published)] if published != old else []))
    if steps:
        # The next observation shows what a change in the kernel brought about, and the usage of a new device id.
        return Steps(steps, last=same and not publication.changes)
    return _settled_stale(seen) if old.remade else Settled(publication.pending)


def _is_unchanged_for_pod(old: Record, new: Record, seen: Observation) -> bool:
    """Return whether all that the pod received still exists, unchanged.

    The old witness may hold though the new one is made of other traits: RDMA devices became movable meanwhile, or the
    record is of an older agent.
    """
    then, now = old.witness, new.witness
    contained = (
        then.inodes.items() <= now.inodes.items()
        and then.movable.items() <= now.movable.items()
        and then.links.items() <= now.links.items()
        and then.numbers.items() <= now.numbers.items()
    )
    return _paths(old) <= _paths(new) and (contained or seen.witness_holds)


def _what_pods_get(record: Record) -> tuple[object, ...]:
    return record.nodes, record.cdi_name, record.witness


def _paths(record: Record) -> set[tuple[str, str]]:
    # In Allocate's answer or by CDI: a pod sees no difference.
    return {(node.container_path, node.host_path) for node in record.all_nodes}


def _with_location(record: Record, seen: Observation) -> Record:
    """Return the record with its parent and PCIe root, by which the device plugin chooses between devices."""
    root = seen.parent.function.pcie_root if seen.parent else ""
    return msgspec.structs.replace(record, parent=record.claim.parent, pcie_root=root)


def plan_stale(offer: Publication, seen: Observation) -> Decision:
    """Plan the unhealthy record (StaleAllocation) of a device that changed while a pod has it, after the changes."""
    unhealthy = msgspec.structs.replace(offer.old, health=_STALE_ALLOCATION)
    steps = (*offer.changes, *([StoreRecord(unhealthy)] if offer.old != unhealthy else []))
    return Steps(steps) if steps else _settled_stale(seen)


def _settled_stale(seen: Observation) -> Settled:
    return Settled(f"{_MADE_ANEW}; {seen.why_in_use}. {_DELETE_POD}", Reason.STALE_ALLOCATION)


def vfio_record(record: Record, device: VirtualFunction | MediatedDevice, vfio: VfioNodes, dev_folder: str) -> Record:
    """Return the record with what a pod gets of a VFIO device: group node, device node if there is one, and name.

    `dev_folder` is the host's `/dev`.
    """
    handed = tuple(node for node in (vfio.container, vfio.group, vfio.device) if node is not None)
    name = device.path.rpartition("/")[2]
    return msgspec.structs.replace(
        record,
        device_id=name,
        health=Health(healthy=True),
        nodes=device_nodes(handed, dev_folder),
        env={"SUBFUNCTION_DEVICE": name},
        witness=Witness(
            inodes={device.path: device.inode, **{node.path: node.inode for node in handed}},
            links={f"{device.path}/driver": device.driver_link or ""},
            numbers={f"{node.path}/dev": node.number for node in handed},
        ),
    )


def device_nodes(nodes: tuple[CharacterDevice, ...], dev_folder: str) -> tuple[DeviceNode, ...]:
    """Return the device nodes of a container, under the same names as on the host."""
    return tuple(
        DeviceNode(container_path=f"/dev/{device.name}", host_path=f"{dev_folder}/{device.name}") for device in nodes
    )
