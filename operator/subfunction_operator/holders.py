"""Who holds a device: the plugin's ledger, the kubelet's PodResources and its checkpoint, read in this order.

The device counts as held while any of them names it, and also while one cannot be read: a device that a pod has is
never taken away because a file was torn or the kubelet was down.
"""

import dataclasses
import threading
import time
from pathlib import Path

import grpc
import msgspec

from subfunction.api import AllocatedTo
from subfunction.errors import SubFunctionError
from subfunction.folder import Folder, Unreadable
from subfunction.kubelet import checkpoint
from subfunction.kubelet.checkpoint import Holding
from subfunction.kubelet.podresources_pb2 import ListPodResourcesRequest, ListPodResourcesResponse
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerStub
from subfunction.ledger import Entry
from subfunction.records import Record, State
from subfunction_operator.observation import Usage

POD_RESOURCES = Path("pod-resources/kubelet.sock")

_DEADLINE = 5.0
"""Seconds for one List. On an overloaded machine a real kubelet took over two, and nothing could drain there."""
_STATUS_AGE = 1.0
_BELIEVED = 5.0
"""By how much longer than it took a failure is believed: a kubelet that hangs costs a parent's thread a sixth of its
time, however many devices are held; one that is down is asked again at once."""
_LARGEST_ANSWER = 16 << 20  # gRPC's default of 4 MiB is less than a node with many pods answers


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """The kubelet's account of who has what."""

    pods: ListPodResourcesResponse
    holdings: tuple[Holding, ...]


class Kubelet:
    """The kubelet as one asks it; those who ask together share one answer, as it refuses more than 100 a second."""

    def __init__(self, root: Path, folder: Path, *, deadline: float = _DEADLINE) -> None:
        self._root = root
        self._deadline = deadline
        self._checkpoint = folder / checkpoint.CHECKPOINT
        self._turn = threading.Lock()
        self._last: Account | SubFunctionError | None = None
        self._asked_at = 0.0
        self._failed_until = 0.0

    def account(self, age: float = 0.0) -> Account:
        """Get an account that is at most `age` seconds older than this call.

        Raises:
            SubFunctionError: one of the two readings failed, and so nothing can be told.
        """
        no_older_than = time.monotonic() - age
        # Held over one request with a deadline and one local file, never longer.
        with self._turn:
            last = self._last
            if last is None or self._asked_at < no_older_than:
                last = self._last = self._asked_again(last)
            if isinstance(last, SubFunctionError):
                raise SubFunctionError(last.message) from last
            return last

    def remind(self) -> None:
        """Let the kubelet forget pods that have ended, if its checkpoint gives any pod a device of ours.

        It forgets when it is asked who holds what, or when a pod comes that wants devices, and no sooner: an id that an
        ended pod had, under another uid than the id has now, would be offered to nobody, and so no pod would come.

        Raises:
            SubFunctionError: it does not answer, or its checkpoint cannot be read.
        """
        if any(holding.uid is not None for holding in self._holdings()):
            self.account(_STATUS_AGE)

    def _asked_again(self, last: Account | SubFunctionError | None) -> Account | SubFunctionError:
        began = time.monotonic()
        if isinstance(last, SubFunctionError) and began < self._failed_until:
            return last
        self._asked_at, found = began, self._asked()
        self._failed_until = began + (1 + _BELIEVED) * (time.monotonic() - began)
        return found

    def _asked(self) -> Account | SubFunctionError:
        try:
            # In this order: List makes the kubelet forget pods that have ended, and the file lags behind that.
            return Account(self._pods(), self._holdings())
        except SubFunctionError as error:
            return error  # shared like an answer: who waited for it need not wait for the same deadline once more

    def _pods(self) -> ListPodResourcesResponse:
        socket = self._root / POD_RESOURCES
        options = (("grpc.max_receive_message_length", _LARGEST_ANSWER), ("grpc.default_authority", "localhost"))
        try:
            with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
                return PodResourcesListerStub(channel).List(ListPodResourcesRequest(), timeout=self._deadline)
        except grpc.RpcError as error:
            raise SubFunctionError(f"the kubelet does not answer at {socket}") from error

    def _holdings(self) -> tuple[Holding, ...]:
        return checkpoint.read(self._checkpoint)


@dataclasses.dataclass(frozen=True, slots=True)
class Holders:
    """The ledger and the kubelet of one node."""

    ledger: Folder[Entry]
    kubelet: Kubelet

    def usage(self, record: Record | None, *, ask: bool) -> Usage:
        """Say who holds a record's device.

        The kubelet is asked only when it matters: when the ledger names the device, when the record is out of the
        offer and somebody is about to touch what it speaks of, or when the plan wants to know (`ask`).
        """
        if record is None or not (record.device_id or record.remade):
            return Usage()
        entry = self.ledger.examine(record.uid)
        if not record.device_id:
            return self._bereft(record, entry) if isinstance(entry, Entry) else Usage()
        if entry is None and record.state is State.READY and not ask:
            return Usage(asked=False)
        # A status may be a moment late; who is about to touch a device must know as of now.
        return self._held(record, entry, 0.0 if ask or record.state is not State.READY else _STATUS_AGE)

    def _bereft(self, record: Record, entry: Entry) -> Usage:
        """Say who was given a device that is no more."""
        found = self._held(msgspec.structs.replace(record, device_id=entry.device_id), entry, _STATUS_AGE)
        return dataclasses.replace(found, held=False, why=f"{found.why}; that device went away")

    def _held(self, record: Record, entry: Entry | Unreadable | None, age: float) -> Usage:
        try:
            account = self.kubelet.account(age)
        except SubFunctionError as error:
            return Usage(held=True, why=f"whether a pod holds {record.device_id} cannot be told: {error}")
        pod = _pod(account, record)
        if pod is not None:
            return Usage(held=True, why=f"pod {pod.namespace}/{pod.name} holds {record.device_id}", by=pod)
        promised = _promised(account, record)
        if promised is not None:
            return Usage(
                held=True, why=f"the kubelet's checkpoint gives {record.device_id} to the pod of uid {promised}"
            )
        if entry is not None:
            return Usage(held=True, why=f"the device plugin has handed {record.device_id} out")
        return Usage()


def _pod(account: Account, record: Record) -> AllocatedTo | None:
    """Look into PodResources; it leaves out init containers, which the checkpoint knows."""
    for pod in account.pods.pod_resources:
        for container in pod.containers:
            for devices in container.devices:
                if devices.resource_name == record.resource and record.device_id in devices.device_ids:
                    return AllocatedTo(namespace=pod.namespace, name=pod.name, container=container.name)
    return None


def _promised(account: Account, record: Record) -> str | None:
    for holding in account.holdings:
        same = holding.resource == record.resource and holding.device_id == record.device_id
        if holding.uid == record.uid or (holding.uid is None and same):
            return holding.pod_uid
    return None
