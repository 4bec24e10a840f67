"""One controller at a time: a Lease of coordination.k8s.io/v1 that is taken, renewed, and given back at the end.

As Kubernetes' own controllers do it (client-go `tools/leaderelection`): clocks are never compared. Who waits watches
the Lease by its own clock, and takes it once nobody has renewed it for as long as it lasts. Who holds it stops before
that: after `renew_deadline` without a renewal nothing is written any more, and the program ends.
"""

import asyncio
import dataclasses
import datetime as dt
import logging
from typing import Any, Final

import msgspec

from subfunction.errors import ApiConflict, ApiRefused, ApiUnavailable, LeaseLost, SubFunctionError
from subfunction_operator.endpoint import Endpoint

_LOG = logging.getLogger("subfunction.lease")


_FAREWELL: Final = 3.0
"""Seconds that giving back may take; a kubelet waits not much longer for a program's end."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Whose Lease it is and how long it lasts, in seconds."""

    namespace: str
    name: str
    identity: str
    duration: float
    renew_deadline: float
    retry: float

    @property
    def path(self) -> str:
        """Where it is."""
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


class Lease:
    """A Lease, held or wanted."""

    def __init__(self, endpoint: Endpoint, terms: Terms) -> None:
        self._endpoint = endpoint
        self._terms = terms
        self._held: _Lease | None = None
        self._renewed_at = 0.0
        self._seen: tuple[str, float] | None = None
        """The version that was seen last, and since when."""

    @property
    def ours(self) -> bool:
        """Whether we hold it, and nobody else can by now."""
        return self._held is not None and self._now() < self._renewed_at + self._terms.renew_deadline

    async def take(self) -> None:
        """Wait until it is ours, however long another one has it and whatever becomes of the server."""
        told = None
        while True:
            try:
                holder = await self._try()
                if self._held is not None:
                    _LOG.info("%s is ours, as %s", self._terms.path, self._terms.identity)
                    return
                if holder != told:
                    _LOG.info("%s is held by %s; waiting", self._terms.path, holder)
                    told = holder
            except SubFunctionError as error:
                _LOG.warning("the lease cannot be taken yet: %s", error)
            await asyncio.sleep(self._terms.retry)

    async def keep(self) -> None:
        """Renew it for ever.

        Raises:
            LeaseLost: somebody else has it, or it could not be renewed in time.
        """
        while True:
            await asyncio.sleep(self._terms.retry)
            left = self._renewed_at + self._terms.renew_deadline - self._now()
            try:
                async with asyncio.timeout(max(0.0, left)):
                    await self._renew()
            except TimeoutError as error:
                why = f"{self._terms.path} could not be renewed for {self._terms.renew_deadline:g} s"
                raise LeaseLost(f"{why}; another controller may have taken over") from error

    async def give_back(self) -> None:
        """Let the next one have it at once; what fails is only slower."""
        if self._held is None:
            return
        try:
            async with asyncio.timeout(_FAREWELL):
                while not await self._given_back():
                    pass
        except (SubFunctionError, TimeoutError) as error:
            _LOG.warning("the lease was not given back, and lasts for %g s: %s", self._terms.duration, error)
        finally:
            self._held = None

    async def _given_back(self) -> bool:
        """Give it back as it is now: a renewal that was under way may have been stored, or be stored meanwhile."""
        await self._look_again()
        held = self._held
        if held is None:
            return True
        spec = _Spec("", 1, held.spec.lease_transitions, held.spec.acquire_time, _timestamp())
        try:
            await self._put(spec, held.metadata.resource_version)
        except ApiConflict:
            return False
        return True

    async def _try(self) -> str:
        """Take it if it is free; gives who holds it."""
        began = self._now()
        found = await self._read()
        if found is None:
            self._hold(began, await self._post(self._spec(0)))
            return self._terms.identity
        holder, version = found.spec.holder_identity or "", found.metadata.resource_version
        if self._seen is None or self._seen[0] != version:
            self._seen = version, began
        lasts = found.spec.lease_duration_seconds or self._terms.duration
        if holder not in {"", self._terms.identity} and began < self._seen[1] + lasts:
            return holder
        transitions = (found.spec.lease_transitions or 0) + (holder != self._terms.identity)
        try:
            self._hold(began, await self._put(self._spec(transitions), version))
        except ApiRefused as error:
            if error.status != 409:
                raise
        return holder

    async def _renew(self) -> None:
        """Renew it once; tries until it is done."""
        while True:
            held, began = self._held, self._now()
            if held is None:
                raise LeaseLost(f"{self._terms.path} is not ours")
            try:
                spec = self._spec(held.spec.lease_transitions or 0, held.spec.acquire_time)
                self._hold(began, await self._put(spec, held.metadata.resource_version))
            except ApiUnavailable as error:
                _LOG.warning("the lease is not renewed yet: %s", error)
            except ApiRefused as error:
                _LOG.warning("the lease is not renewed yet: %s", error)
                await self._look_again()
            else:
                return
            await asyncio.sleep(self._terms.retry / 4)

    async def _look_again(self) -> None:
        """See whose it is: a renewal of ours may have been stored though its answer was lost."""
        try:
            found = await self._read()
        except SubFunctionError as error:
            _LOG.warning("the lease cannot be read: %s", error)
            return
        if found is None or found.spec.holder_identity != self._terms.identity:
            self._held = None
            holder = found.spec.holder_identity if found else None
            raise LeaseLost(f"{self._terms.path} is held by {holder or 'nobody'} now")
        self._held = found

    def _hold(self, began: float, stored: _Lease) -> None:
        # It lasts from when it was asked for: the answer may have been long on its way.
        self._held, self._renewed_at = stored, began

    def _spec(self, transitions: int, acquired: str | None = None) -> _Spec:
        now = _timestamp()
        return _Spec(self._terms.identity, max(1, round(self._terms.duration)), transitions, acquired or now, now)

    async def _read(self) -> _Lease | None:
        try:
            return msgspec.json.decode(await self._endpoint.raw("GET", self._terms.path), type=_Lease)
        except ApiRefused as error:
            if error.status == 404:
                return None
            raise

    async def _post(self, spec: _Spec) -> _Lease:
        body = self._body(spec, {"name": self._terms.name, "namespace": self._terms.namespace})
        raw = await self._endpoint.raw("POST", self._terms.path.rpartition("/")[0], body)
        return msgspec.json.decode(raw, type=_Lease)

    async def _put(self, spec: _Spec, version: str) -> _Lease:
        metadata = {"name": self._terms.name, "namespace": self._terms.namespace, "resourceVersion": version}
        raw = await self._endpoint.raw("PUT", self._terms.path, self._body(spec, metadata))
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
    """Give now as metav1.MicroTime is written."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
