"""The steps between what is and what should be: each is one system call or one file, idempotent, and perhaps the last.

Whatever a step needs to know stands in it. A plan is a list of steps up to the next moment at which somebody must look
again, because the kernel chose something or takes its time.
"""

import dataclasses
from typing import TypeAlias

from subfunction.kernel.address import Handle
from subfunction.kernel.netdev import Netdev
from subfunction.kernel.port import FunctionSettings
from subfunction.reasons import Reason
from subfunction.records import Record


@dataclasses.dataclass(frozen=True, slots=True)
class StoreRecord:
    """Write the record, before the kernel is asked or after it has answered."""

    record: Record


@dataclasses.dataclass(frozen=True, slots=True)
class RemoveRecord:
    """Forget the sub-function: the kernel has nothing of it any more."""

    uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class CreatePort:
    """`devlink port add HANDLE flavour pcisf pfnum PF sfnum NUMBER`."""

    parent: Handle
    pf: int
    number: int
    controller: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class SetFunction:
    """`devlink port function set HANDLE/INDEX hw_addr MAC ...`."""

    parent: Handle
    index: int
    settings: FunctionSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Activate:
    """`devlink port function set HANDLE/INDEX state active`."""

    parent: Handle
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class Deactivate:
    """`devlink port function set HANDLE/INDEX state inactive`."""

    parent: Handle
    index: int


@dataclasses.dataclass(frozen=True, slots=True)
class SetParameter:
    """`devlink dev param set INSTANCE name NAME value VALUE cmode driverinit`."""

    instance: Handle
    name: str
    value: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Reload:
    """`devlink dev reload INSTANCE`."""

    instance: Handle


@dataclasses.dataclass(frozen=True, slots=True)
class SetLink:
    """`ip link set NETDEV up`, or down."""

    netdev: Netdev
    up: bool


@dataclasses.dataclass(frozen=True, slots=True)
class DeletePort:
    """`devlink port del HANDLE/INDEX`."""

    parent: Handle
    index: int


Step: TypeAlias = (
    StoreRecord
    | RemoveRecord
    | CreatePort
    | SetFunction
    | Activate
    | Deactivate
    | SetParameter
    | Reload
    | SetLink
    | DeletePort
)


@dataclasses.dataclass(frozen=True, slots=True)
class Steps:
    """Take these in their order, then look again; after the `last` there is nothing new to see."""

    steps: tuple[Step, ...]
    last: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until something else happens: the kernel finishes (`kernel`), or a pod ends."""

    reason: Reason
    message: str
    kernel: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """All is as asked; `pending` says what is left out because a pod has the device."""

    pending: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Ask:
    """Look again, and ask the kubelet this time: what comes next depends on whether a pod has the device."""


Decision: TypeAlias = Steps | Wait | Rest | Ask
