"""The names of a pool's sub-functions: the same from whoever makes them, so that nobody makes one twice. Pure."""

import hashlib
import re
from typing import Final

LONGEST: Final = 253
"""Of a name, by RFC 1123 and Kubernetes."""

_DIGEST: Final = 10


def name_of(pool: str, node: str, parent: str | None, slot: int) -> str:
    """Name one, like `fast-worker-1-0000-03-00.0-2`: pool, node, parent (None where slots are the node's), slot.

    The address of a parent on PCI stands without its bus. What is too long, or has characters that a name may not have,
    is cut and told apart by a digest. The slot always stands last.
    """
    parts = [pool, node] if parent is None else [pool, node, parent.removeprefix("pci/")]
    plain = "-".join(parts)
    legal = re.sub(r"[^a-z0-9.-]", "-", plain.lower())
    legal = re.sub(r"\.(?=[.-])|(?<=-)\.", "-", legal)
    # A colon becomes a dash, as addresses are told apart without it; all else that changed must not be forgotten.
    changed = legal != plain.replace(":", "-")
    room = LONGEST - len(f"-{slot}")
    if changed or len(legal) > room:
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]
        legal = f"{legal[: room - _DIGEST - 1].rstrip('.-')}-{digest}"
    return f"{legal}-{slot}"
