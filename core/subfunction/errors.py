"""The exceptions of all programs, as one tree.

    SubFunctionError
    ├── KernelError                    the kernel refused; .errno and .text are the kernel's own
    │   ├── Gone                       the instance or port does not exist (any more)
    │   ├── NotSwitchdev               the parent's e-switch is in legacy mode
    │   ├── KernelWithoutSubFunctions  the driver was built without sub-functions
    │   ├── SubFunctionsUnsupported    the card's firmware has no sub-functions
    │   ├── Full                       the parent has no room for another one
    │   ├── NumberTaken                the number exists, or the firmware has not freed its resource yet
    │   ├── PfNumberRefused            the pfnum of a port add is not the one that this kernel expects for the parent
    │   ├── StillAttached              a driver is still bound to the function
    │   ├── PortUnfinished             another port of the parent has to be activated or deleted first
    │   ├── CardFailed                 the card's firmware is in a fatal state, or answers no query
    │   ├── NotPermitted               a capability is missing
    │   ├── Unsupported                the driver does not offer this operation or setting
    │   └── Invalid                    the kernel or driver rejects the value
    ├── KernelBusy                     the kernel did not answer within the deadline
    ├── MalformedReply                 a message or a listing that breaks its format
    ├── PortUnlisted                   a port exists that the kernel's list leaves out
    ├── FamilyMissing                  the kernel has no such generic netlink family
    ├── ParentNotFound                 the parent does not exist on this node
    ├── EswitchElsewhere               another processor manages the parent's e-switch, and makes its sub-functions
    ├── NoVirtualFunction              the parent has no virtual function of that index
    ├── NoMediatedType                 the parent offers no mediated device of that type
    ├── GroupShared                    other functions of the IOMMU group have drivers of the host
    ├── DriverNotLoaded                the driver for the device is not loaded
    ├── HeldOpen                       a driver waits until the process that has the device open closes it
    ├── BridgeNotFound                 the bridge does not exist on this node
    ├── ProbeFailed                    the function is active, but no driver was bound in time
    ├── UnsupportedField               the spec asks for something that this version or node cannot do
    ├── NumbersExhausted               every number of the range is taken
    ├── NumberOwned                    another SubFunction of this node has the number
    ├── ResourceNameConflict           a SubFunction of another flavour has the resource name
    ├── Foreign                        a sub-function of another tool is where ours should be
    ├── ApiRefused                     the API server refused a request
    │   ├── ApiConflict                another client changed the object meanwhile
    │   └── NodeNotFound               the cluster has no Node of this name
    ├── ApiTooOld                      the cluster's Kubernetes lacks a feature that we need
    ├── LeaseLost                      another controller has the Lease, or may have it
    ├── ApiUnavailable                 the API server cannot be reached, or asks us to retry later
    ├── FolderError                    a record, ledger or state file or folder could not be read, written or watched
    │   └── CheckpointUnreadable       the kubelet's checkpoint cannot be read
    ├── CannotListen                   the text is no address to listen on, or the address cannot be had
    ├── InvalidSetting                 a setting of the program has a value that it cannot work with
    └── AllocationRefused              the kubelet asked for a device that cannot be handed out

Code that raises one for another exception chains it (`raise ... from`). `SubFunctionError` as a whole is caught where
one object's or one file's trouble must not become that of the next (each key of a queue, each RPC, each source of what
is in use) and at the outer edges; all other code catches only the one leaf that it can deal with.
"""

import os
from typing import ClassVar, Self

from subfunction.api.reasons import Reason


class SubFunctionError(Exception):
    """An error with the words of its cause.

    `hint` tells the user what to type or do next. `retry_after` is in seconds: the longest pause before the first
    retry; later retries back off up to 120 s (`RateLimiter` in `kube/backoff.py`). None means that only an event helps
    (the object, the node or the kernel changes), so that a retry is useless. A value given to the constructor is the
    shortest pause instead, and the back-off comes on top.
    """

    reason: Reason = Reason.INVALID
    default_retry: ClassVar[float | None] = None
    """`retry_after` of the errors of a class: a longer one than 120 s also bounds the back-off."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry_after = self.default_retry if retry_after is None else retry_after
        self.asked = retry_after or 0.0
        """The pause before the next try, in seconds, that a server or the raising code asked for; 0 for none."""

    @property
    def first_pause(self) -> float:
        """Return the longest pause before the first retry, in seconds; each further failure doubles it."""
        return self.default_retry or 0.0

    def __str__(self) -> str:
        """Return the message followed by its hint, as conditions show it."""
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
        """Build the error from the operation's name and the kernel's answer to it."""
        words = f"{text.rstrip('.')} ({os.strerror(errno)})" if text else os.strerror(errno)
        return cls(f"{operation}: {words}", errno=errno, text=text, hint=hint)


class Gone(KernelError):
    """The instance or port does not exist (any more); for a deletion that is success."""

    default_retry = 1.0


class NotSwitchdev(KernelError):
    """The parent's e-switch is in legacy mode; a change ends every function of the card, so the user decides on it."""

    reason = Reason.NOT_SWITCHDEV
    default_retry = 10.0  # the kernel does not announce a change of the mode


class SwitchdevRefused(NotSwitchdev):
    """The driver refused to put the e-switch back into switchdev mode; the parent has a pause of its own then."""

    default_retry = 60.0


class KernelWithoutSubFunctions(KernelError):
    """The driver was built without sub-functions: it has no operation that makes ports."""

    reason = Reason.KERNEL_WITHOUT_SUB_FUNCTIONS
    default_retry = 300.0


class SubFunctionsUnsupported(KernelError):
    """The card's firmware has no sub-functions."""

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


class PfNumberRefused(KernelError):
    """The pfnum of a `devlink port add` is not the one that this kernel expects for the parent; no port was made."""


class StillAttached(KernelError):
    """A driver is still bound to a function that was deactivated."""

    reason = Reason.STILL_ATTACHED
    default_retry = 1.0


class PortUnfinished(KernelError):
    """The parent has a port that was never attached, and its driver makes no other one beside it (ice)."""

    default_retry = 2.0


class CardFailed(KernelError):
    """The card's firmware is in a fatal state, or refuses a query: the driver sends it no commands, or none helps."""

    reason = Reason.CARD_FAILED


class NotPermitted(KernelError):
    """A capability is missing: changes need CAP_NET_ADMIN in the initial user namespace."""

    reason = Reason.NOT_PERMITTED


class Unsupported(KernelError):
    """The driver does not offer this operation or setting."""

    reason = Reason.UNSUPPORTED
    default_retry = None


class Invalid(KernelError):
    """The kernel or the driver rejects the value."""

    reason = Reason.INVALID
    default_retry = None


class KernelBusy(SubFunctionError):
    """The kernel did not answer within the deadline; the thread that sent the request is abandoned."""

    reason = Reason.KERNEL_BUSY
    default_retry = 10.0


class MalformedReply(SubFunctionError):
    """A message or a listing of the kernel breaks its format, or answers another question than the one asked."""

    reason = Reason.MALFORMED_REPLY
    default_retry = 5.0


class PortUnlisted(SubFunctionError):
    """A port exists, as its representor shows, but the kernel's list of ports leaves it out.

    One port whose firmware query fails cuts a devlink dump short, and the dump ends with success (net/devlink/port.c,
    netlink.c, Linux 6.12 and 7.3).
    """

    reason = Reason.KERNEL_REFUSED
    default_retry: ClassVar[float | None] = 5.0


class FamilyMissing(SubFunctionError):
    """The kernel has no such generic netlink family."""

    reason = Reason.KERNEL_TOO_OLD
    default_retry = 300.0


class ParentNotFound(SubFunctionError):
    """The parent does not exist on this node."""

    reason = Reason.PARENT_NOT_FOUND
    default_retry = 30.0


class EswitchElsewhere(SubFunctionError):
    """Another processor (a DPU's own) manages the parent's e-switch: sub-functions are made there."""

    reason = Reason.UNSUPPORTED
    default_retry = 300.0


class NoVirtualFunction(SubFunctionError):
    """The parent has no virtual function of that index."""

    reason = Reason.NO_VIRTUAL_FUNCTION
    default_retry = 30.0


class NoMediatedType(SubFunctionError):
    """The parent offers no mediated devices, or none of that type, or no more of them."""

    reason = Reason.NO_MEDIATED_TYPE
    default_retry = 30.0


class GroupShared(SubFunctionError):
    """Other functions of the IOMMU group have drivers of the host; VFIO assigns only whole groups."""

    reason = Reason.GROUP_SHARED
    default_retry = 30.0


class DriverNotLoaded(SubFunctionError):
    """The driver for the device is not loaded; `module` is the kernel module to load."""

    reason = Reason.DRIVER_NOT_LOADED
    default_retry = 30.0

    def __init__(self, message: str, *, module: str) -> None:
        hint = (
            f"Type `modprobe {module}`, and write `{module}` to /etc/modules-load.d/subfunction.conf for the next boot."
        )
        super().__init__(message, hint=hint)
        self.module = module


class HeldOpen(SubFunctionError):
    """A driver waits until the process that has the device open closes it; no other work on the node waits for that."""

    reason = Reason.HELD_OPEN
    default_retry = 5.0


class BridgeNotFound(SubFunctionError):
    """The bridge that the representor should join does not exist on this node."""

    reason = Reason.BRIDGE_NOT_FOUND
    default_retry = 30.0


class ProbeFailed(SubFunctionError):
    """The function is active, but no driver was bound to it in time."""

    reason = Reason.PROBE_FAILED
    default_retry = 30.0


class UnsupportedField(SubFunctionError):
    """The spec asks for something that this version, or this node, cannot do."""

    reason = Reason.UNSUPPORTED


class NumbersExhausted(SubFunctionError):
    """Every sfnum of the range is taken on this parent."""

    reason = Reason.NUMBERS_EXHAUSTED
    default_retry = 60.0


class NumberOwned(SubFunctionError):
    """Another SubFunction of this node has the sfnum that the spec asks for."""

    reason = Reason.NUMBER_TAKEN
    default_retry = 30.0


class ResourceNameConflict(SubFunctionError):
    """A SubFunction of another flavour on this node has the same resource name."""

    reason = Reason.RESOURCE_NAME_CONFLICT
    default_retry = 30.0


class Foreign(SubFunctionError):
    """A sub-function that another tool made is where ours should be."""

    reason = Reason.FOREIGN
    default_retry = 60.0


class ApiRefused(SubFunctionError):
    """The API server refused a request; `status` is the HTTP status code."""

    reason = Reason.API_REFUSED
    default_retry = 30.0

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ApiConflict(ApiRefused):
    """Another client changed the object meanwhile: read it again."""

    default_retry = 0.1


class NodeNotFound(ApiRefused):
    """The cluster has no Node of this name (yet)."""

    default_retry = 5.0


class ApiTooOld(SubFunctionError):
    """The cluster's Kubernetes lacks a feature that we need; the program ends."""

    reason = Reason.API_REFUSED


class ApiUnavailable(SubFunctionError):
    """The API server cannot be reached, is out of order, or asks us to retry later."""

    reason = Reason.API_UNAVAILABLE
    default_retry = 0.5


class LeaseLost(SubFunctionError):
    """This process has lost the Lease, or may have lost it: another controller may be at work."""

    reason = Reason.API_UNAVAILABLE


class FolderError(SubFunctionError):
    """A record, ledger or state file could not be read or written, or its folder could not be watched."""

    reason = Reason.RECORD_NOT_WRITTEN
    default_retry = 10.0


class CheckpointUnreadable(FolderError):
    """The kubelet's checkpoint cannot be read, so that no device can be known to be free."""

    reason = Reason.RECORD_UNREADABLE


class CannotListen(SubFunctionError):
    """The program cannot listen for metrics and probes: the text is no address, or another process has the address."""


class InvalidSetting(SubFunctionError):
    """A setting of the program has a value that it cannot work with; the program ends."""


class AllocationRefused(SubFunctionError):
    """The kubelet asked for a device that cannot be handed out; `reason` says why."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
