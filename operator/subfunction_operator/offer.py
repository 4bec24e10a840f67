"""What a record offers: said once it is there, and never made to fit a device that a pod has of old. Pure."""

import dataclasses
from typing import Final

import msgspec

from subfunction.kernel.mdev import MediatedDevice
from subfunction.kernel.pci import VirtualFunction
from subfunction.kernel.vfio import VfioNodes
from subfunction.reasons import Reason
from subfunction.records import Health, Record, State, Witness
from subfunction_operator.cdi import delivered
from subfunction_operator.decision import Ask, Decision, Rest, Steps
from subfunction_operator.interruption import unready
from subfunction_operator.native import nodes
from subfunction_operator.observation import Observation, Policy
from subfunction_operator.step import Step, StoreRecord

_ANEW: Final = "its devices were made anew while a pod has the old ones"
_DELETE_POD: Final = "Delete that pod; its successor gets a device that is whole."
_OUTLIVED: Final = Health(reason=Reason.STALE_ALLOCATION, message=_ANEW)


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What is to be said: the record as it is, and the same with what is there now.

    `changes` are the steps that are due before, `pending` is what has to wait besides.
    """

    old: Record
    new: Record
    changes: tuple[Step, ...] = ()
    pending: str = ""


def offered_or_rest(offer: Offer, seen: Observation, policy: Policy) -> Decision:
    """Say what is offered after the changes, unless that is said already or a pod has what was offered before."""
    old, new = offer.old, delivered(_located(offer.new, seen), seen, policy)
    if old.witness.inodes and _handed(new) != _handed(old):
        if not seen.usage.asked:
            return Ask()
        if seen.held and not still(old, new):
            return _stale(offer, seen)
        if seen.held:
            new = old  # more than was handed out (rdma_cm was loaded meanwhile) is for the next pod
    if old.state is State.READY and old.cdi_name not in {None, new.cdi_name}:
        return Steps(unready(old))  # its file is about to be another one, under another name
    same = new.device_id == old.device_id
    # Who has the device before is told by its uid, which is asked for once the new one has an id.
    let_go = same and old.state is State.READY and not seen.held
    remade = old.remade and not let_go
    said = msgspec.structs.replace(new.moved(State.READY, _OUTLIVED if remade else Health(healthy=True)), remade=remade)
    taken = (*offer.changes, *([StoreRecord(said)] if said != old else []))
    if taken:
        # What a change of the kernel's brought about is seen by the next look, and who holds what by its id.
        return Steps(taken, last=same and not offer.changes)
    return _outlived(seen) if old.remade else Rest(offer.pending)


def still(old: Record, new: Record) -> bool:
    """Say whether all that was handed out is there as it was."""
    then, now = old.witness, new.witness
    return (
        _paths(old) <= _paths(new)
        and then.inodes.items() <= now.inodes.items()
        and then.links.items() <= now.links.items()
        and then.numbers.items() <= now.numbers.items()
    )


def _handed(record: Record) -> tuple[object, ...]:
    return record.nodes, record.cdi_name, record.witness


def _paths(record: Record) -> set[tuple[str, str]]:
    # By whichever way they get there.
    return {(node.container_path, node.host_path) for node in record.all_nodes}


def _located(record: Record, seen: Observation) -> Record:
    """Say where it is, for those who choose between devices."""
    root = seen.parent.function.pcie_root if seen.parent else ""
    return msgspec.structs.replace(record, parent=record.claim.parent, pcie_root=root)


def _stale(offer: Offer, seen: Observation) -> Decision:
    sick = msgspec.structs.replace(offer.old, health=_OUTLIVED)
    taken = (*offer.changes, *([StoreRecord(sick)] if offer.old != sick else []))
    return Steps(taken) if taken else _outlived(seen)


def _outlived(seen: Observation) -> Rest:
    return Rest(f"{_ANEW}; {seen.why_held}. {_DELETE_POD}", Reason.STALE_ALLOCATION)


def handed_out(record: Record, device: VirtualFunction | MediatedDevice, vfio: VfioNodes, devices: str) -> Record:
    """Say what a pod gets of a device that VFIO has: its group, its own node where the kernel has such, and its name.

    `devices` is where the host has `/dev`.
    """
    handed = tuple(node for node in (vfio.container, vfio.group, vfio.device) if node is not None)
    name = device.path.rpartition("/")[2]
    return msgspec.structs.replace(
        record,
        device_id=name,
        health=Health(healthy=True),
        nodes=nodes(handed, devices),
        env={"SUBFUNCTION_DEVICE": name},
        witness=Witness(
            inodes={device.path: device.inode, **{node.path: node.inode for node in handed}},
            links={f"{device.path}/driver": device.driver_link or ""},
            numbers={f"{node.path}/dev": node.number for node in handed},
        ),
    )
