"""kopf, without what it would bring along: it imports any Kubernetes client that is installed, to log in with it.

We log in ourselves. In an image that has the client for the controller's sake, that would cost the agent 20 MiB and a
quarter of a second (measured); it is hidden while kopf is imported, and from kopf alone.
"""

import contextlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Final

_CLIENTS: Final = frozenset({"kubernetes", "kubernetes_asyncio", "pykube"})


class _Hidden(importlib.abc.MetaPathFinder):
    """Finds that the clients are not there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raise for a client, have nothing to say of all else."""
        del path, target
        if fullname in _CLIENTS:
            raise ModuleNotFoundError(f"{fullname} is hidden from kopf", name=fullname)
        return None


@contextlib.contextmanager
def _hidden() -> Iterator[None]:
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


with _hidden():
    import kopf

    # Typed by a name that kopf keeps to itself.
    from kopf._core.engines.peering import Identity

__all__ = ["Identity", "kopf"]
