"""The ledger: which device the plugin has handed out, to be seen by the agent before it tears one down.

One file a device in `/run/subfunction/allocations/`, written by the device plugin alone. Allocate writes its entry,
then reads the record afresh, then answers; the agent writes `draining`, then reads the ledger. Each writes first and
reads second, so one of the two always sees the other.
"""

from pathlib import Path

import msgspec

from subfunction.folder import Folder

SCHEMA = 1
LEDGER = Path("/run/subfunction/allocations")

NEVER_SEEN_SECONDS = 300.0
"""An entry that the kubelet's checkpoint never showed ends after this long: the kubelet has given up on it."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One device handed out; `at` is in seconds since the epoch."""

    schema: int = SCHEMA
    uid: str
    resource: str
    device_id: str
    at: float
    seen_in_checkpoint: bool = False
    """Set once the kubelet's checkpoint names the device, so that leaving it ends the entry."""
    before: tuple[str, ...] = ()
    """Who held the device by the checkpoint of that moment (`<pod uid>/<container>`): the kubelet may write its file
    between letting go of them and noting the new holder, so only others count as having seen this entry."""


def ledger(path: Path = LEDGER) -> Folder[Entry]:
    """Open the folder of entries."""
    return Folder(path, Entry, SCHEMA)
