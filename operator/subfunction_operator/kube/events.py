"""Posts Events (`kubectl describe`). A failure is only logged: the object's condition says the same."""

import dataclasses
import logging
from typing import Final

from subfunction.api.subfunction import GROUP, VERSION
from subfunction.errors import SubFunctionError
from subfunction_operator.kube.rest import RestClient, now

_LOG = logging.getLogger(__name__)

_NAMESPACE: Final = "default"
"""The namespace of Events about cluster-scoped objects."""
_LONGEST_MESSAGE: Final = 1024
_LONGEST_PREFIX: Final = 240
"""Characters of the object's name that leave room for the suffix of `generateName`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """The content of an Event, one line of `kubectl describe`; `warning` makes its type Warning instead of Normal."""

    reason: str
    message: str
    warning: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event is about; `version` is its resourceVersion."""

    kind: str
    name: str
    uid: str
    version: str


@dataclasses.dataclass(frozen=True, slots=True)
class EventSource:
    """The program that posts an Event, and its instance (a node's or a pod's name)."""

    component: str
    instance: str


@dataclasses.dataclass(frozen=True, slots=True)
class EventRecorder:
    """Posts one program's Events."""

    client: RestClient
    source: EventSource

    async def record(self, about: ObjectReference, event: Event) -> None:
        """Post an Event; log it where the API server refuses it or does not answer."""
        at = now()
        body = {
            "metadata": {"generateName": f"{about.name[:_LONGEST_PREFIX]}.", "namespace": _NAMESPACE},
            "involvedObject": {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": about.kind,
                "name": about.name,
                "uid": about.uid,
                "resourceVersion": about.version,
            },
            "reason": event.reason,
            "message": event.message[:_LONGEST_MESSAGE],
            "type": "Warning" if event.warning else "Normal",
            "source": {"component": self.source.component, "host": self.source.instance},
            "reportingComponent": self.source.component,
            "reportingInstance": self.source.instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            await self.client.request("POST", f"/api/v1/namespaces/{_NAMESPACE}/events", body)
        except SubFunctionError as error:
            _LOG.warning("%s: %s: %s (no Event: %s)", about.name, event.reason, event.message, error)
