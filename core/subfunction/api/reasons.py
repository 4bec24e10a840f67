"""The reasons that conditions, Events and metrics name."""

import enum


class Reason(enum.StrEnum):
    """One word for an error or a state; stable, since users and their tools match on it."""

    # States, not errors: all is well or in progress.
    READY = "Ready"
    PLACED = "Placed"
    CREATED = "Created"
    ATTACHED = "Attached"
    BOUND = "Bound"
    CONNECTED = "Connected"
    OFFERED = "Offered"
    PENDING = "Pending"
    DRAINING = "Draining"
    IN_USE = "InUse"
    FREE = "Free"
    ROLLING = "Rolling"

    # The parent.
    PARENT_NOT_FOUND = "ParentNotFound"
    NOT_SWITCHDEV = "NotSwitchdev"
    FULL = "Full"
    KERNEL_TOO_OLD = "KernelTooOld"
    KERNEL_WITHOUT_SUB_FUNCTIONS = "KernelWithoutSubFunctions"
    KERNEL_BUSY = "KernelBusy"
    CARD_FAILED = "CardFailed"

    # The sub-function.
    NUMBER_TAKEN = "NumberTaken"
    NUMBERS_EXHAUSTED = "NumbersExhausted"
    FOREIGN = "Foreign"
    ATTACHING = "Attaching"
    STILL_ATTACHED = "StillAttached"
    PROBE_FAILED = "ProbeFailed"
    CHANGE_PENDING = "ChangePending"
    UNSUPPORTED = "Unsupported"
    INVALID = "Invalid"
    RETURNING = "Returning"
    HELD_OPEN = "HeldOpen"
    NO_VIRTUAL_FUNCTION = "NoVirtualFunction"
    NO_MEDIATED_TYPE = "NoMediatedType"
    GROUP_SHARED = "GroupShared"
    BRIDGE_NOT_FOUND = "BridgeNotFound"
    RDMA_EXCLUSIVE = "RdmaExclusiveNeedsCNI"

    # The node.
    NOT_PERMITTED = "NotPermitted"
    DRIVER_NOT_LOADED = "DriverNotLoaded"
    RESOURCE_NAME_CONFLICT = "ResourceNameConflict"
    KERNEL_REFUSED = "KernelRefused"
    MALFORMED_REPLY = "MalformedReply"
    RECORD_UNREADABLE = "RecordUnreadable"
    RECORD_NOT_WRITTEN = "RecordNotWritten"

    API_REFUSED = "ApiRefused"
    API_UNAVAILABLE = "ApiUnavailable"

    # The cluster.
    NO_NODE_FITS = "NoNodeFits"
    NO_AGENT = "NoAgent"

    # The device plugin and its allocations.
    STALE_ALLOCATION = "StaleAllocation"
    FORCED = "Forced"
    ID_TAKEN = "IdTaken"
    UNKNOWN_DEVICE = "UnknownDevice"
    NOT_READY = "NotReady"
