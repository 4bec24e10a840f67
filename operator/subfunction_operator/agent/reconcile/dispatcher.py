"""Runs the reconciler of each parent in a thread of its own, and waits for the kernel between two runs.

What takes the kernel a while (a function that attaches, a driver that is unbound) is waited for here, outside the
parent's thread and with a growing pause: mlx5 announces neither.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import msgspec

from subfunction.api.reasons import Reason
from subfunction.api.subfunction import SubFunction
from subfunction.errors import KernelBusy, ProbeFailed, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.netlink.transport import Transport
from subfunction.kernel.worker import KernelWorkers
from subfunction_operator.agent.execute.kernel import KernelClients
from subfunction_operator.agent.model.decision import ReconcileResult, Settled, Wait
from subfunction_operator.agent.model.observation import Desired, RetryState
from subfunction_operator.agent.model.query import ObserveRequest, Reserved
from subfunction_operator.agent.observe.parents import Rank, choose_parent, list_candidates, named_parent, rank_parent
from subfunction_operator.agent.reconcile.reconciler import Reconciler

_LOG = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
_READY_GRACE: Final = 0.3
"""Seconds of waiting after which the status of a Ready object is updated: the kubelet knows already."""
_RELOAD_AGAIN: Final = 60.0
"""Seconds until a function whose reload did not bring what was asked is reloaded again."""
ReservedBy: TypeAlias = Callable[[Handle], Reserved]
"""Returns the numbers and devices of a parent that other objects have or ask for."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Waiting:
    """What one sub-function waits for, since when, and what was tried already."""

    reason: Reason
    generation: int
    began: float | None
    """In seconds of the event loop's clock; None until the next run, which begins another wait."""
    memory: RetryState


@dataclasses.dataclass(slots=True)
class KernelDispatcher:
    """Runs reconciliations, one thread for each parent; the waits are in the event loop."""

    transport: Transport
    reconciler: Reconciler
    kernel_deadline: float
    attach_deadline: float
    patience: float = 2.0
    """Seconds of waiting in one run: most functions attach sooner, and one that does not must not keep a worker."""

    filters_lists: bool = True
    """Whether the kernel lists one instance's ports without waiting for others (Linux 6.5 and later)."""

    on_return: Callable[[str], None] | None = None
    """Called with the uid of each sub-function that failed with KernelBusy, once its parent's thread has returned."""

    _workers: KernelWorkers = dataclasses.field(init=False)
    _busy: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    """By parent: the uids of the sub-functions whose jobs its thread did not end, or could not begin."""
    _clients: dict[str, KernelClients] = dataclasses.field(default_factory=dict)
    _waiting: dict[str, _Waiting] = dataclasses.field(default_factory=dict)
    _reloads: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Let each thread announce that it has returned."""
        self._workers = KernelWorkers(self._handle_return)

    async def run_until_settled(self, desired: Desired, reserved: ReservedBy) -> ReconcileResult:
        """Reconcile one sub-function until it is settled or fails, or has waited for `patience` seconds.

        It never raises SubFunctionError: the error is in the result.
        """
        try:
            parent = await self._find_parent(desired)
        except SubFunctionError as error:
            return ReconcileResult(None, error=error)
        if parent is None:
            return ReconcileResult(None, Settled())
        if (here := desired.on(str(parent))) is not desired:
            _LOG.info("the parent is %s now; the status shows another", parent)
            desired = here
        pause = _FIRST_PAUSE
        while True:
            memory = self._memory(desired)
            result = await self._run(desired, parent, reserved(parent), memory)
            if result.memory.reloaded and not memory.reloaded:
                self._reloads[desired.uid] = asyncio.get_running_loop().time()
            waited = self._waited(desired, result)
            if waited is None:
                return result
            if waited > self.attach_deadline:
                return self._report_overdue(desired, result)
            if waited > (_READY_GRACE if desired.reports_ready and not desired.deleting else self.patience):
                return result
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _memory(self, desired: Desired) -> RetryState:
        waiting, now = self._waiting.get(desired.uid), asyncio.get_running_loop().time()
        # A reload that did not bring what was asked is not repeated at each run.
        recent = now - self._reloads.get(desired.uid, -_RELOAD_AGAIN) < _RELOAD_AGAIN
        if waiting is None:
            return RetryState(reloaded=recent)
        return dataclasses.replace(waiting.memory, waited=0.0 if waiting.began is None else now - waiting.began)

    def _waited(self, desired: Desired, result: ReconcileResult) -> float | None:
        """Return the seconds that it has waited for the same thing; None where it does not wait for the kernel."""
        if not isinstance(result.decision, Wait) or not result.attaching:
            self._waiting.pop(desired.uid, None)
            return None
        now = asyncio.get_running_loop().time()
        generation = desired.object.metadata.generation if desired.object else 0
        old = self._waiting.get(desired.uid)
        now_waits = (result.decision.reason, generation, result.memory.deleted_ports)
        same = old is not None and (old.reason, old.generation, old.memory.deleted_ports) == now_waits
        began = old.began if old is not None and same and old.began is not None else now
        self._waiting[desired.uid] = _Waiting(result.decision.reason, generation, began, result.memory)
        return now - began

    def _report_overdue(self, desired: Desired, result: ReconcileResult) -> ReconcileResult:
        """Return the error of a wait past its deadline; the next run deactivates the function and waits anew."""
        waiting = result.decision
        if not isinstance(waiting, Wait) or waiting.reason is not Reason.ATTACHING:
            return result
        old = self._waiting[desired.uid]
        memory = dataclasses.replace(old.memory, probed=False, overdue=True)
        self._waiting[desired.uid] = dataclasses.replace(old, began=None, memory=memory)
        error = ProbeFailed(f"after {self.attach_deadline:g} s {waiting.message}", hint=waiting.hint or "See `dmesg`.")
        return ReconcileResult(result.seen, error=error)

    async def _find_parent(self, desired: Desired) -> Handle | None:
        """Return the parent; None where there is nothing to do on any parent.

        A record of this boot names it, and for a deletion any record does. Without one the address in the status proves
        nothing: PCI addresses may have moved, so that a parent that was asked for by its netdev or a selector is looked
        for.
        """
        observer = self.reconciler.observer
        record, wanted = await asyncio.to_thread(observer.records.read, desired.uid), desired.object
        if record is not None and (record.boot_id == observer.boot_id or desired.deleting):
            return Handle.parse(record.claim.parent)
        if wanted is None:
            raise ProbeFailed(f"{desired.name} has neither an object nor a record")
        if desired.deleting and wanted.status.parent is None:
            return None  # nothing was ever created, so that the parent it asks for need not exist
        if (handle := named_parent(wanted, deleting=desired.deleting)) is not None:
            return handle
        candidates = await asyncio.to_thread(list_candidates, await self._resolve_netdev(wanted), observer.sysfs)
        if len(candidates) == 1:
            return candidates[0]
        ranked = await asyncio.gather(*(self._rank(handle) for handle in candidates))
        return choose_parent(dict(zip(candidates, ranked, strict=True)))

    async def _resolve_netdev(self, wanted: SubFunction) -> SubFunction:
        """Return the object with the name of its parent's netdev that sysfs shows, if it asks for another one."""
        spec, links = wanted.spec, self._clients_of("node").links
        name = spec.parent.netdev
        if not name or await asyncio.to_thread(self.reconciler.observer.sysfs.resolve, f"class/net/{name}") is not None:
            return wanted
        found = await self._workers.of("node").run(
            f"ip link show altname {name}", lambda: links.find(name), self.kernel_deadline
        )
        if found is None:
            return wanted
        parent = msgspec.structs.replace(spec.parent, netdev=found.name)
        return msgspec.structs.replace(wanted, spec=msgspec.structs.replace(spec, parent=parent))

    async def _rank(self, handle: Handle) -> Rank | SubFunctionError | None:
        """Ask a candidate for its rank in its own thread; return the error of one that refuses or does not answer."""
        clients, ranges = self._clients_of(str(handle)), self.reconciler.policy.numbers
        try:
            return await self._workers.of(str(handle)).run(
                f"rank {handle}", lambda: rank_parent(clients.devlink, handle, ranges), self.kernel_deadline
            )
        except SubFunctionError as error:
            return error

    async def _run(self, desired: Desired, parent: Handle, reserved: Reserved, memory: RetryState) -> ReconcileResult:
        clients = self._clients_of(str(parent))
        request = ObserveRequest(desired, parent, reserved)
        try:
            return await self._workers.of(str(parent)).run(
                f"reconcile {desired.name}",
                lambda: self.reconciler.reconcile(clients, request, memory),
                self.kernel_deadline,
            )
        except KernelBusy as busy:
            self._busy.setdefault(str(parent), set()).add(desired.uid)
            if self._workers.of(str(parent)).stuck_in is None:
                self._handle_return(str(parent))  # the thread has returned in the meantime
            return ReconcileResult(None, error=busy)
        except SubFunctionError as error:
            return ReconcileResult(None, error=error)

    def _handle_return(self, parent: str) -> None:
        for uid in self._busy.pop(parent, ()):
            if self.on_return is not None:
                self.on_return(uid)

    def _clients_of(self, thread: str) -> KernelClients:
        if thread not in self._clients:
            self._clients[thread] = KernelClients.create(self.transport, filters_lists=self.filters_lists)
        return self._clients[thread]

    def stop(self) -> None:
        """End the threads after their current jobs, and close their sockets."""
        for thread, clients in self._clients.items():
            self._workers.of(thread).stop(clients.close)


def reserved_numbers(cache: Iterable[SubFunction], parent: Handle, except_uid: str) -> Reserved:
    """Return the numbers and devices that all objects but `except_uid` have or ask for on a parent.

    None of them may be chosen. An object without a parent may come to this one, so its number counts too.
    """
    others = [each for each in cache if each.uid != except_uid and each.status.parent in {None, str(parent)}]
    asked = {number for each in others for number in (each.spec.number, each.status.number) if number is not None}
    shown = {each.status.number: each.name for each in others if each.status.number is not None}
    devices = {each.status.device.id: each.name for each in others if each.status.device is not None}
    return Reserved(frozenset(asked), shown, devices)
