"""Everything that can go wrong, as a tree.

    SubFunctionError
    ├── KernelError                    the kernel said no; .errno and .text are its own words
    │   ├── Gone                       the instance or port is not there (any more)
    │   ├── NotSwitchdev               the parent's e-switch is in legacy mode
    │   ├── SubFunctionsUnsupported    this kernel, driver or firmware has no sub-functions
    │   ├── Full                       the parent has no room for another one
    │   ├── NumberTaken                the number exists, or its firmware resource is not free yet
    │   ├── StillAttached              a driver still holds the function
    │   ├── NotPermitted               a capability is missing
    │   ├── Unsupported                the driver cannot do this one thing
    │   └── Invalid                    the kernel finds the value wrong
    ├── KernelBusy                     no answer within the deadline
    ├── MalformedReply                 an answer that cannot be what it claims to be
    ├── FamilyMissing                  the kernel lacks a whole netlink family
    ├── ParentNotFound                 no such parent on this node
    ├── NoVirtualFunction              the parent has no virtual function of that index
    ├── NoMediatedType                 the parent offers no mediated device of that type
    ├── GroupShared                    other functions of the IOMMU group are on other drivers
    ├── DriverNotLoaded                the driver that would use the device is not in this kernel
    ├── HeldOpen                       a driver waits until whoever has the device open closes it
    ├── BridgeNotFound                 no such bridge on this node
    ├── ProbeFailed                    active, but no driver came up in time
    ├── UnsupportedField               the spec asks for what this version cannot do
    ├── NumbersExhausted               every number of the range is taken
    ├── NumberOwned                    another SubFunction of this node has the number
    ├── ResourceNameConflict           another flavour of this node has the resource name
    ├── Foreign                        somebody else's sub-function stands there
    ├── ApiRefused                     the API server said no
    │   ├── ApiConflict                the object was changed by somebody else meanwhile
    │   └── NodeNotFound               the cluster has no Node of our name
    ├── ApiTooOld                      the cluster's Kubernetes lacks what we rely on
    ├── LeaseLost                      another controller has taken over, or may have
    ├── ApiUnavailable                 the API server cannot be reached, or asks for patience
    ├── FolderError                    a record, ledger or state file or folder could not be read, written or watched
    │   └── CheckpointUnreadable       who holds what, by the kubelet's account, cannot be told
    ├── CannotListen                   no address to listen on, or somebody else's
    └── AllocationRefused              the kubelet asked for what cannot be given

Whoever causes one chains the original (`raise ... from`). The handler edge, the RPC edge and the CLI edge catch
`SubFunctionError`; nobody else does, but for the one leaf it can mend.
"""

import os
from typing import ClassVar, Self

from subfunction.reasons import Reason


class SubFunctionError(Exception):
    """A fault with its cause's own words.

    `hint` says what a person types or does next. `retry_after` is in seconds; None means that only a change of the
    object or of the node helps, and that asking again would be noise.
    """

    reason: Reason = Reason.INVALID
    default_retry: ClassVar[float | None] = None

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = self.default_retry if retry_after is None else retry_after

    def __str__(self) -> str:
        """Give the message with its hint, as it stands in a condition."""
        return f"{self.message.rstrip('.')}. {self.hint}" if self.hint else self.message


class KernelError(SubFunctionError):
    """The kernel refused an operation; `text` is its extended-ack message, empty where the driver sends none."""

    reason = Reason.KERNEL_REFUSED
    default_retry: ClassVar[float | None] = 30.0

    def __init__(self, message: str, *, errno: int, text: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errno = errno
        self.text = text

    @classmethod
    def refused(cls, operation: str, errno: int, text: str, *, hint: str = "") -> Self:
        """Name the operation and what the kernel answered to it."""
        words = f"{text.rstrip('.')} ({os.strerror(errno)})" if text else os.strerror(errno)
        return cls(f"{operation}: {words}", errno=errno, text=text, hint=hint)


class Gone(KernelError):
    """The instance or port is not there (any more); for a deletion that is success."""

    default_retry = 1.0


class NotSwitchdev(KernelError):
    """The parent's e-switch is in legacy mode; changing it kills every function of the card, so a person must."""

    reason = Reason.NOT_SWITCHDEV
    default_retry = 10.0  # a change of the mode is not announced


class SubFunctionsUnsupported(KernelError):
    """This kernel, driver or firmware has no sub-functions."""

    reason = Reason.KERNEL_TOO_OLD
    default_retry = 300.0


class Full(KernelError):
    """The parent has no room for another sub-function."""

    reason = Reason.FULL
    default_retry = 10.0


class NumberTaken(KernelError):
    """The number exists, or the firmware has not freed its resource yet."""

    reason = Reason.NUMBER_TAKEN
    default_retry = 2.0


class StillAttached(KernelError):
    """A driver still holds a function that was deactivated."""

    reason = Reason.STILL_ATTACHED
    default_retry = 1.0


class NotPermitted(KernelError):
    """A capability is missing: changes need CAP_NET_ADMIN in the initial user namespace."""

    reason = Reason.NOT_PERMITTED


class Unsupported(KernelError):
    """The driver cannot do this one thing."""

    reason = Reason.UNSUPPORTED
    default_retry = None


class Invalid(KernelError):
    """The kernel finds the value wrong."""

    reason = Reason.INVALID
    default_retry = None


class KernelBusy(SubFunctionError):
    """The kernel did not answer within the deadline; the thread that asked is left behind."""

    reason = Reason.KERNEL_BUSY
    default_retry = 10.0


class MalformedReply(SubFunctionError):
    """An answer that cannot be what it claims to be."""

    reason = Reason.MALFORMED_REPLY
    default_retry = 5.0


class FamilyMissing(SubFunctionError):
    """The kernel has no such generic netlink family."""

    reason = Reason.KERNEL_TOO_OLD
    default_retry = 300.0


class ParentNotFound(SubFunctionError):
    """No such parent on this node."""

    reason = Reason.PARENT_NOT_FOUND
    default_retry = 30.0


class NoVirtualFunction(SubFunctionError):
    """The parent has no virtual function of that index."""

    reason = Reason.NO_VIRTUAL_FUNCTION
    default_retry = 30.0


class NoMediatedType(SubFunctionError):
    """The parent offers no mediated devices, or none of that type, or no more of them."""

    reason = Reason.NO_MEDIATED_TYPE
    default_retry = 30.0


class GroupShared(SubFunctionError):
    """Other functions of the IOMMU group are on drivers of the host: VFIO gives a group away whole or not at all."""

    reason = Reason.GROUP_SHARED
    default_retry = 30.0


class DriverNotLoaded(SubFunctionError):
    """The driver that would use the device is not in this kernel; `module` is what to load."""

    reason = Reason.DRIVER_NOT_LOADED
    default_retry = 30.0

    def __init__(self, message: str, *, module: str) -> None:
        hint = (
            f"Type `modprobe {module}`, and write `{module}` to /etc/modules-load.d/subfunction.conf for the next boot."
        )
        super().__init__(message, hint=hint)
        self.module = module


class HeldOpen(SubFunctionError):
    """A driver waits until whoever has the device open closes it; nothing else of the node waits with it."""

    reason = Reason.HELD_OPEN
    default_retry = 5.0


class BridgeNotFound(SubFunctionError):
    """The bridge that the representor should be in is not on this node."""

    reason = Reason.BRIDGE_NOT_FOUND
    default_retry = 30.0


class ProbeFailed(SubFunctionError):
    """The function is active, but no driver came up in time."""

    reason = Reason.PROBE_FAILED
    default_retry = 30.0


class UnsupportedField(SubFunctionError):
    """The spec asks for something that this version, or this node, cannot do."""

    reason = Reason.UNSUPPORTED


class NumbersExhausted(SubFunctionError):
    """Every number of the range is taken on this parent."""

    reason = Reason.NUMBERS_EXHAUSTED
    default_retry = 60.0


class NumberOwned(SubFunctionError):
    """Another SubFunction of this node has the number that is asked for."""

    reason = Reason.NUMBER_TAKEN
    default_retry = 30.0


class ResourceNameConflict(SubFunctionError):
    """A SubFunction of another flavour on this node is offered under the same resource name."""

    reason = Reason.RESOURCE_NAME_CONFLICT
    default_retry = 30.0


class Foreign(SubFunctionError):
    """A sub-function that somebody else made stands where ours should."""

    reason = Reason.FOREIGN
    default_retry = 60.0


class ApiRefused(SubFunctionError):
    """The API server refused a request; `status` is HTTP's."""

    reason = Reason.API_REFUSED
    default_retry = 30.0

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ApiConflict(ApiRefused):
    """The object was changed by somebody else meanwhile: read it again."""

    default_retry = 0.1


class NodeNotFound(ApiRefused):
    """The cluster has no Node of our name (yet)."""

    default_retry = 5.0


class ApiTooOld(SubFunctionError):
    """The API server is of a Kubernetes that lacks what we rely on; the program ends."""

    reason = Reason.API_REFUSED


class ApiUnavailable(SubFunctionError):
    """The API server cannot be reached, is out of order, or asks for patience."""

    reason = Reason.API_UNAVAILABLE
    default_retry = 2.0


class LeaseLost(SubFunctionError):
    """The Lease is not ours any more, or may not be: another controller may be at work."""

    reason = Reason.API_UNAVAILABLE


class FolderError(SubFunctionError):
    """A record, ledger or state file could not be read or written, or its folder not be watched."""

    reason = Reason.RECORD_NOT_WRITTEN
    default_retry = 10.0


class CheckpointUnreadable(FolderError):
    """The kubelet's checkpoint cannot be read: nobody can then say that a device is free."""

    reason = Reason.RECORD_UNREADABLE


class CannotListen(SubFunctionError):
    """The address to serve metrics and probes on is none, or is somebody else's."""


class AllocationRefused(SubFunctionError):
    """The kubelet asked for what cannot be given; `reason` says why."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
