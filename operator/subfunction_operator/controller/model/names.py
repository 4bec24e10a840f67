"""The names of a pool's sub-functions: fixed by their slot, so that two controllers cannot create one twice. Pure."""

import hashlib
import re
from typing import Final

LONGEST: Final = 253
"""Characters of a name at most, by RFC 1123 and Kubernetes."""

_DIGEST: Final = 10


def subfunction_name(pool: str, node: str, parent: str | None, slot: int) -> str:
    """Build a name like `fast-worker-1-0000-03-00.0-2`: pool, node, parent (None where slots are the node's), slot.

    The handle of a PCI parent is used without `pci/`. A name that is too long, or has characters that a name may not
    have, is cut or changed, and made unique by a digest. The slot always comes last.
    """
    parts = [pool, node] if parent is None else [pool, node, parent.removeprefix("pci/")]
    plain = "-".join(parts)
    legal = re.sub(r"[^a-z0-9.-]", "-", plain.lower())
    legal = re.sub(r"\.(?=[.-])|(?<=-)\.", "-", legal)
    # A colon becomes a dash without a digest, since PCI addresses stay distinct; any other change needs the digest.
    changed = legal != plain.replace(":", "-")
    room = LONGEST - len(f"-{slot}")
    if changed or len(legal) > room:
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]
        legal = f"{legal[: room - _DIGEST - 1].rstrip('.-')}-{digest}"
    return f"{legal}-{slot}"
