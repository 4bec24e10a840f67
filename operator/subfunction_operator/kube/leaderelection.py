"""Leader election: one controller at a time has the Lease of coordination.k8s.io/v1, renews it, and releases it.

As in client-go (`tools/leaderelection`), clocks are never compared. A controller that waits watches the Lease by its
own clock, and acquires it once it was not renewed for its duration. The leader stops before that: `renew_deadline`
seconds after the last renewal nothing is written any more, and the program ends.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from typing import Any, Final

import msgspec

from subfunction.errors import ApiConflict, ApiRefused, ApiUnavailable, LeaseLost, SubFunctionError
from subfunction_operator.kube.rest import RestClient, ignore_not_found

_LOG = logging.getLogger(__name__)


_RELEASE_SECONDS: Final = 3.0
"""Seconds that the release may take; a kubelet does not wait much longer for a program to end."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElectionConfig:
    """The Lease's name, our name in it, and its times in seconds."""

    namespace: str
    name: str
    identity: str
    duration: float
    renew_deadline: float
    retry: float

    @property
    def path(self) -> str:
        """Return the Lease's path in the API."""
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{self.name}"


class _Metadata(msgspec.Struct, rename="camel"):
    resource_version: str


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None


class _Lease(msgspec.Struct):
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class LeaderElector:
    """Acquires, renews and releases one Lease."""

    def __init__(self, endpoint: RestClient, config: LeaderElectionConfig) -> None:
        self._endpoint = endpoint
        self._config = config
        self._held: _Lease | None = None
        self._renewed_at = 0.0
        self._seen: tuple[str, float] | None = None
        """The version that was seen last, and since when by our own clock."""

    @property
    def is_leader(self) -> bool:
        """Return whether the Lease is ours, and no other controller can have acquired it yet."""
        return self._held is not None and self._now() < self._renewed_at + self._config.renew_deadline

    async def acquire(self) -> None:
        """Wait until the Lease is ours, however long another controller has it and however the server fails."""
        logged = None
        while True:
            try:
                holder = await self._try()
                if self._held is not None:
                    _LOG.info("%s is ours, as %s", self._config.path, self._config.identity)
                    return
                if holder != logged:
                    _LOG.info("%s is held by %s; waiting", self._config.path, holder)
                    logged = holder
            except SubFunctionError as error:
                _LOG.warning("the lease cannot be taken yet: %s", error)
            await asyncio.sleep(self._config.retry)

    async def renew(self) -> None:
        """Renew the Lease for ever.

        Raises:
            LeaseLost: another controller has it, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(self._config.retry)
            left = self._renewed_at + self._config.renew_deadline - self._now()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._renew()
            except TimeoutError as error:
                why = f"{self._config.path} could not be renewed for {self._config.renew_deadline:g} s"
                raise LeaseLost(f"{why}; another controller may have taken over") from error

    async def release(self) -> None:
        """Release the Lease, so that the next controller need not wait until it expires; log a failure."""
        if self._held is None:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                while not await self._try_release():
                    pass
        except (SubFunctionError, TimeoutError) as error:
            _LOG.warning("the lease was not released, and lasts for %g s: %s", self._config.duration, error)
        finally:
            self._held = None

    async def _try_release(self) -> bool:
        """Release the Lease as it is stored now; return False if a renewal that was under way came in between."""
        await self._reread()
        lease = self._held
        if lease is None:
            return True
        spec = _Spec("", 1, lease.spec.lease_transitions, lease.spec.acquire_time, _timestamp())
        try:
            await self._put(spec, lease.metadata.resource_version)
        except ApiConflict:
            return False
        return True

    async def _try(self) -> str:
        """Acquire the Lease if it is free; return the identity of the holder that was found."""
        began = self._now()
        found = await self._read()
        if found is None:
            self._store(began, await self._post(self._spec(0)))
            return self._config.identity
        holder, version = found.spec.holder_identity or "", found.metadata.resource_version
        if self._seen is None or self._seen[0] != version:
            self._seen = version, began
        lasts = found.spec.lease_duration_seconds or self._config.duration
        if holder not in {"", self._config.identity} and began < self._seen[1] + lasts:
            return holder
        transitions = (found.spec.lease_transitions or 0) + (holder != self._config.identity)
        try:
            self._store(began, await self._put(self._spec(transitions), version))
        except ApiRefused as error:
            if error.status != 409:
                raise
        return holder

    async def _renew(self) -> None:
        """Renew the Lease once, however many tries that takes."""
        while True:
            lease, began = self._held, self._now()
            if lease is None:
                raise LeaseLost(f"{self._config.path} is not ours")
            try:
                spec = self._spec(lease.spec.lease_transitions or 0, lease.spec.acquire_time)
                self._store(began, await self._put(spec, lease.metadata.resource_version))
            except ApiUnavailable as error:
                _LOG.warning("the lease is not renewed yet: %s", error)
            except ApiRefused as error:
                _LOG.warning("the lease is not renewed yet: %s", error)
                await self._reread()
            else:
                return
            await asyncio.sleep(self._config.retry / 4)

    async def _reread(self) -> None:
        """Read the Lease again: a renewal of ours may have been stored though its answer was lost.

        Raises:
            LeaseLost: it is not ours any more.
        """
        try:
            found = await self._read()
        except SubFunctionError as error:
            _LOG.warning("the lease cannot be read: %s", error)
            return
        if found is None or found.spec.holder_identity != self._config.identity:
            self._held = None
            holder = found.spec.holder_identity if found else None
            raise LeaseLost(f"{self._config.path} is held by {holder or 'no controller'} now")
        self._held = found

    def _store(self, began: float, stored: _Lease) -> None:
        # The Lease lasts from the moment of the request: the answer may have been long on its way.
        self._held, self._renewed_at = stored, began

    def _spec(self, transitions: int, acquired: str | None = None) -> _Spec:
        now = _timestamp()
        return _Spec(self._config.identity, max(1, round(self._config.duration)), transitions, acquired or now, now)

    async def _read(self) -> _Lease | None:
        raw = await ignore_not_found(self._endpoint.request_raw("GET", self._config.path))
        return None if raw is None else msgspec.json.decode(raw, type=_Lease)

    async def _post(self, spec: _Spec) -> _Lease:
        body = self._body(spec, {"name": self._config.name, "namespace": self._config.namespace})
        raw = await self._endpoint.request_raw("POST", self._config.path.rpartition("/")[0], body)
        return msgspec.json.decode(raw, type=_Lease)

    async def _put(self, spec: _Spec, version: str) -> _Lease:
        metadata = {"name": self._config.name, "namespace": self._config.namespace, "resourceVersion": version}
        raw = await self._endpoint.request_raw("PUT", self._config.path, self._body(spec, metadata))
        return msgspec.json.decode(raw, type=_Lease)

    def _body(self, spec: _Spec, metadata: dict[str, str]) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": msgspec.to_builtins(spec),
        }

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _timestamp() -> str:
    """Return the time in the format of metav1.MicroTime."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
