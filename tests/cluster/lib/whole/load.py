"""Pods that come and go on every node."""

import itertools
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from whole.pods import Pods

_STAY: Final = 2.0
"""Seconds that a pod has its device, at least."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """A time in which a pod surely had a sub-function."""

    pod: str
    uid: str
    began: float
    ended: float

    def clashes(self, other: "Tenancy") -> bool:
        """Whether both had the same one at once."""
        return self.uid == other.uid and self.began < other.ended and other.began < self.ended


class Load:
    """On each node one pod at a time, time and again, until the end of the block; what fails there is raised there."""

    def __init__(self, pods: Pods, nodes: Iterable[str]) -> None:
        self.tenancies: list[Tenancy] = []
        self._pods = pods
        self._nodes = tuple(nodes)
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(len(self._nodes), "load")
        self._runs: list[Future[None]] = []

    def served(self) -> dict[str, int]:
        """How many pods of each node have had a sub-function; raises what a node's load ended with."""
        for run in self._runs:
            if run.done():
                run.result()
        return {node: sum(each.pod.endswith(node) for each in self.tenancies) for node in self._nodes}

    def __enter__(self) -> Self:
        """Begin."""
        self._runs = [self._threads.submit(self._run, node) for node in self._nodes]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with the pods that there are."""
        self._over.set()
        self._threads.shutdown()
        if error is None:
            self.served()

    def _run(self, node: str) -> None:
        for number in itertools.count(1):
            name = f"load-{number}-{node}"
            uid = self._pods.run(name, node)["SUBFUNCTION_UID"]
            began = time.monotonic()
            over = self._over.wait(_STAY)
            self.tenancies.append(Tenancy(name, uid, began, time.monotonic()))
            self._pods.delete(name)
            if over:
                return


def clashes(tenancies: Iterable[Tenancy]) -> list[tuple[Tenancy, Tenancy]]:
    """The pairs of pods that had the same sub-function at once."""
    return [pair for pair in itertools.combinations(tenancies, 2) if pair[0].clashes(pair[1])]
