"""Who holds a device: the plugin's ledger, the kubelet's checkpoint and its PodResources, read in this order.

The device counts as held while any of them names it, and also while one cannot be read: a device that a pod has is
never taken away because a file was torn or the kubelet was down.
"""

import dataclasses
from pathlib import Path

import grpc

from subfunction.api import AllocatedTo
from subfunction.errors import FolderError
from subfunction.folder import Folder
from subfunction.kubelet import checkpoint
from subfunction.kubelet.podresources_pb2 import ListPodResourcesRequest
from subfunction.kubelet.podresources_pb2_grpc import PodResourcesListerStub
from subfunction.ledger import Entry
from subfunction.records import Record, State
from subfunction_operator.observation import Usage

POD_RESOURCES = Path("pod-resources/kubelet.sock")
DEVICE_PLUGINS = Path("device-plugins")

_DEADLINE = 2.0
_LARGEST_ANSWER = 16 << 20  # gRPC's default of 4 MiB is less than a node with many pods answers


@dataclasses.dataclass(frozen=True, slots=True)
class Holders:
    """The three places, for one kubelet; `kubelet` is its root folder."""

    ledger: Folder[Entry]
    kubelet: Path

    def usage(self, record: Record | None) -> Usage:
        """Say who holds a record's device.

        The kubelet is asked only when it matters: when the ledger names the device, or when the record is out of the
        offer and somebody is about to touch what it speaks of.
        """
        if record is None or not record.device_id:
            return Usage()
        entry = self.ledger.read(record.uid)
        if entry is None and record.state is State.READY:
            return Usage()
        try:
            pod = self._pod(record)
            promised = self._promised(record)
        except (FolderError, grpc.RpcError) as error:
            words = error.details() if isinstance(error, grpc.Call) else str(error)
            return Usage(held=True, why=f"whether a pod holds {record.device_id} cannot be told: {words}")
        if pod is not None:
            return Usage(held=True, why=f"pod {pod.namespace}/{pod.name} holds {record.device_id}", by=pod)
        if promised is not None:
            return Usage(held=True, why=f"the kubelet's checkpoint gives {record.device_id} to pod {promised}")
        if entry is not None:
            return Usage(held=True, why=f"the device plugin has handed {record.device_id} out")
        return Usage()

    def _pod(self, record: Record) -> AllocatedTo | None:
        """Ask PodResources; the answer leaves out init containers, which the checkpoint knows."""
        options = (("grpc.max_receive_message_length", _LARGEST_ANSWER), ("grpc.default_authority", "localhost"))
        with grpc.insecure_channel(f"unix:{self.kubelet / POD_RESOURCES}", options=options) as channel:
            answer = PodResourcesListerStub(channel).List(ListPodResourcesRequest(), timeout=_DEADLINE)
        for pod in answer.pod_resources:
            for container in pod.containers:
                for devices in container.devices:
                    if devices.resource_name == record.resource and record.device_id in devices.device_ids:
                        return AllocatedTo(namespace=pod.namespace, name=pod.name, container=container.name)
        return None

    def _promised(self, record: Record) -> str | None:
        folder = self.kubelet / DEVICE_PLUGINS
        path = folder / checkpoint.CHECKPOINT
        # A kubelet that no plugin has ever registered with has no checkpoint; a folder that is missing tells nothing.
        if folder.is_dir() and not path.exists():
            return None
        for holding in checkpoint.read(path):
            same = holding.resource == record.resource and holding.device_id == record.device_id
            if holding.uid == record.uid or (holding.uid is None and same):
                return holding.pod_uid
        return None
