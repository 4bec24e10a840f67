"""The allocation ledger: the devices that the plugin has handed out; the agent reads it before it removes a device.

It has one file a device in `/run/subfunction/allocations/`, written by the device plugin alone. Allocate writes its
entry, then reads the record again, then answers; the agent writes `draining`, then reads the ledger. Each writes first
and reads second, so at least one of the two sees the other's write.
"""

from pathlib import Path

import msgspec

from subfunction.state.store import FileStore

SCHEMA = 1
LEDGER = Path("/run/subfunction/allocations")

NEVER_SEEN_SECONDS = 300.0
"""The age at which an entry ends that the kubelet's checkpoint never showed: the kubelet has given up on it."""


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One device that was handed out; `at` is the time of that, in seconds since the epoch."""

    schema: int = SCHEMA
    uid: str
    resource: str
    device_id: str
    at: float
    seen_in_checkpoint: bool = False
    """Set once the kubelet's checkpoint has the allocation; the entry ends when the checkpoint no longer has it."""
    before: tuple[str, ...] = ()
    """The containers (`<pod uid>/<container>`) that the checkpoint named as users of the device at that moment. The
    kubelet may write its file before it has removed them and noted the new user, so the checkpoint has this allocation
    only once it names another container."""


def open_ledger(path: Path = LEDGER) -> FileStore[LedgerEntry]:
    """Open the ledger's folder."""
    return FileStore(path, LedgerEntry, SCHEMA)
