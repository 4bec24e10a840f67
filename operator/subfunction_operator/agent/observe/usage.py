"""Finds out which pod uses a device: from the plugin's ledger, the kubelet's PodResources and its checkpoint.

They are read in this order. The device counts as in use while any of them names it, and also while one cannot be read:
a device is never taken from a pod because a file was torn or the kubelet was down.
"""

import dataclasses
import threading
import time
from pathlib import Path

import grpc
import msgspec

from subfunction.api.subfunction import AllocatedTo
from subfunction.errors import SubFunctionError
from subfunction.kubelet import checkpoint
from subfunction.kubelet.checkpoint import DeviceAllocation
from subfunction.kubelet.podresources_pb2 import ListPodResourcesRequest, ListPodResourcesResponse
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerStub
from subfunction.state.ledger import LedgerEntry
from subfunction.state.records import Record, State
from subfunction.state.store import CorruptFile, FileStore
from subfunction_operator.agent.model.observation import Usage

POD_RESOURCES = Path("pod-resources/kubelet.sock")

_DEADLINE = 5.0
"""Seconds for one List. On an overloaded machine a real kubelet took over two, and with less nothing could drain."""
_STATUS_AGE = 1.0
"""Seconds that an account may be old for a status."""
_BELIEVED = 5.0
"""For how many times its own duration a failure is reused: a kubelet that hangs costs a parent's thread a sixth of its
time, however many devices are in use; one that is down is asked again at once."""
_LARGEST_ANSWER = 16 << 20  # bytes; gRPC's default of 4 MiB is too little for a node with many pods


@dataclasses.dataclass(frozen=True, slots=True)
class AllocationSnapshot:
    """The kubelet's account of which container has which device: PodResources and the checkpoint."""

    pods: ListPodResourcesResponse
    holdings: tuple[DeviceAllocation, ...]


class Kubelet:
    """Asks the kubelet; concurrent callers share one answer, since it refuses more than 100 requests a second."""

    def __init__(self, root: Path, folder: Path, *, deadline: float = _DEADLINE) -> None:
        self._root = root
        self._deadline = deadline
        self._checkpoint = folder / checkpoint.CHECKPOINT
        self._lock = threading.Lock()
        self._last: AllocationSnapshot | SubFunctionError | None = None
        self._asked_at = 0.0
        self._failed_until = 0.0

    def snapshot(self, age: float = 0.0) -> AllocationSnapshot:
        """Return an account that is at most `age` seconds older than this call.

        Raises:
            SubFunctionError: PodResources or the checkpoint could not be read, so that nothing can be told.
        """
        no_older_than = time.monotonic() - age
        # The lock is held for one request with a deadline and one local file, never longer.
        with self._lock:
            last = self._last
            if last is None or self._asked_at < no_older_than:
                last = self._last = self._ask_unless_failing(last)
            if isinstance(last, SubFunctionError):
                raise SubFunctionError(last.message) from last
            return last

    def refresh(self) -> None:
        """Make the kubelet forget pods that have ended, if its checkpoint gives any pod a device of ours.

        It forgets them only when it is asked for PodResources, or when a pod comes that requests devices. Until then,
        a device id that an ended pod had under another uid is not allocatable, so that no such pod would come.

        Raises:
            SubFunctionError: the kubelet does not answer, or its checkpoint cannot be read.
        """
        if any(holding.uid is not None for holding in self._allocations()):
            self.snapshot(_STATUS_AGE)

    def _ask_unless_failing(
        self, last: AllocationSnapshot | SubFunctionError | None
    ) -> AllocationSnapshot | SubFunctionError:
        began = time.monotonic()
        if isinstance(last, SubFunctionError) and began < self._failed_until:
            return last
        self._asked_at, found = began, self._ask()
        self._failed_until = began + (1 + _BELIEVED) * (time.monotonic() - began)
        return found

    def _ask(self) -> AllocationSnapshot | SubFunctionError:
        try:
            # In this order: List makes the kubelet forget pods that have ended, and the file lags behind that.
            return AllocationSnapshot(self._pods(), self._allocations())
        except SubFunctionError as error:
            return error  # shared like an answer: the callers that waited for it do not wait for another deadline

    def _pods(self) -> ListPodResourcesResponse:
        socket = self._root / POD_RESOURCES
        options = (("grpc.max_receive_message_length", _LARGEST_ANSWER), ("grpc.default_authority", "localhost"))
        try:
            with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
                return PodResourcesListerStub(channel).List(ListPodResourcesRequest(), timeout=self._deadline)
        except grpc.RpcError as error:
            raise SubFunctionError(f"the kubelet does not answer at {socket}") from error

    def _allocations(self) -> tuple[DeviceAllocation, ...]:
        return checkpoint.read_checkpoint(self._checkpoint)


@dataclasses.dataclass(frozen=True, slots=True)
class UsageReader:
    """Reads the ledger and asks the kubelet of one node."""

    ledger: FileStore[LedgerEntry]
    kubelet: Kubelet

    def usage(self, record: Record | None, *, refresh: bool) -> Usage:
        """Return which pod uses a record's device.

        The kubelet is asked only when it matters: when the ledger names the device, when the record is not published
        and the device is about to be changed, or when the plan depends on it (`refresh`).
        """
        if record is None or not (record.device_id or record.remade):
            return Usage()
        entry = self.ledger.examine(record.uid)
        if not record.device_id:
            return self._find_lost_allocation(record, entry) if isinstance(entry, LedgerEntry) else Usage()
        if entry is None and record.state is State.READY and not refresh:
            return Usage(refreshed=False)
        # A status may be a moment late; before a device is changed, the account must be of now.
        return self._find_user(record, entry, 0.0 if refresh or record.state is not State.READY else _STATUS_AGE)

    def _find_lost_allocation(self, record: Record, entry: LedgerEntry) -> Usage:
        """Return which pod still has the allocation of a device that does not exist any more."""
        found = self._find_user(msgspec.structs.replace(record, device_id=entry.device_id), entry, _STATUS_AGE)
        return dataclasses.replace(found, in_use=False, why=f"{found.why}; that device went away")

    def _find_user(self, record: Record, entry: LedgerEntry | CorruptFile | None, age: float) -> Usage:
        try:
            account = self.kubelet.snapshot(age)
        except SubFunctionError as error:
            return Usage(in_use=True, why=f"whether a pod holds {record.device_id} cannot be told: {error}")
        pod = _pod(account, record)
        if pod is not None:
            return Usage(in_use=True, why=f"pod {pod.namespace}/{pod.name} holds {record.device_id}", by=pod)
        promised = _allocated_to(account, record)
        if promised is not None:
            return Usage(
                in_use=True, why=f"the kubelet's checkpoint gives {record.device_id} to the pod of uid {promised}"
            )
        if entry is not None:
            return Usage(in_use=True, why=f"the device plugin has handed {record.device_id} out")
        return Usage()


def _pod(account: AllocationSnapshot, record: Record) -> AllocatedTo | None:
    """Find the pod in PodResources, which leaves out init containers; the checkpoint has these too."""
    for pod in account.pods.pod_resources:
        for container in pod.containers:
            for devices in container.devices:
                if devices.resource_name == record.resource and record.device_id in devices.device_ids:
                    return AllocatedTo(namespace=pod.namespace, name=pod.name, container=container.name)
    return None


def _allocated_to(account: AllocationSnapshot, record: Record) -> str | None:
    for holding in account.holdings:
        same = holding.resource == record.resource and holding.device_id == record.device_id
        if holding.uid == record.uid or (holding.uid is None and same):
            return holding.pod_uid
    return None
