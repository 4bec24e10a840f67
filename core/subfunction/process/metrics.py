"""The metrics of all programs: every name, label and bucket. docs/metrics.md explains each.

Labels are few and have few values: flavours, phases, reasons, verbs, resource names; never an object's name, a uid or a
device. Each set of metrics has its own registry, so that two sets in one process do not mix. Counters are incremented
where something happens; a `CallbackGauge` is computed at each scrape, in the thread that answers it.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from subfunction.api.reasons import Reason
from subfunction.errors import SubFunctionError

OTHER: Final = "Other"
"""The label value for a reason that this version does not know."""

_KERNEL_SECONDS: Final = (0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0)
"""A netlink request takes tenths of milliseconds, a reload seconds; after 30 s the agent gives up on a parent."""

_ANSWER_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 20.0)
"""Allocate takes milliseconds; after 20 s the plugin gives up, and the kubelet admits no pod meanwhile."""

Counts = Mapping[tuple[str, ...], float]
"""A gauge's numbers, by the values of its labels."""


class CallbackGauge(Collector):
    """A gauge that calls `source` at each scrape; empty until that is set. `source` must not block."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.source: Callable[[], Counts] = dict
        self._name, self._documentation, self._labels = name, documentation, labels
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metric without values, so that the registry knows its name."""
        yield GaugeMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return the metric with the numbers of now."""
        (family,) = self.describe()
        for values, number in self.source().items():
            family.add_metric(values, number)
        yield family


class ProgramMetrics:
    """The metrics that every program has."""

    def __init__(self, program: str) -> None:
        # Times of creation would double the series, and they have no use here.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's one function without types
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        built = Gauge(
            "subfunction_build_info",
            "1; the labels name the program and its version.",
            ["program", "version"],
            registry=registry,
        )
        built.labels(program, version("subfunction")).set(1)
        self.ready = CallbackGauge("subfunction_ready", "1 if /readyz reports ready, else 0.", (), registry)
        self.heartbeats = CallbackGauge(
            "subfunction_heartbeat_age_seconds", "Seconds since an event loop last had its turn.", ("loop",), registry
        )
        self._errors = Counter("subfunction_errors", "Errors, each occurrence counted.", ["reason"], registry=registry)
        for reason in _reasons_of(SubFunctionError):
            self._errors.labels(reason)  # so that the first one is an increase and not a new series

    def record_error(self, reason: str) -> None:
        """Count an error."""
        self._errors.labels(known_reason(reason)).inc()


class ClientMetrics(ProgramMetrics):
    """The metrics of a program that watches the API server and has a work queue."""

    def __init__(self, program: str) -> None:
        super().__init__(program)
        registry = self.registry
        self._requests = Counter(
            "subfunction_api_requests", "Requests to the API server.", ["verb", "code"], registry=registry
        )
        self._restarts = Counter("subfunction_watch_restarts", "Restarts of the watch.", registry=registry)
        self.backlog = CallbackGauge("subfunction_backlog", "Keys in the work queue.", ("state",), registry)

    def record_request(self, verb: str, code: str) -> None:
        """Count a request by its Kubernetes verb and HTTP status code; the code is `none` where no answer came."""
        self._requests.labels(verb, code).inc()

    def record_watch_restart(self) -> None:
        """Count a restart of the watch."""
        self._restarts.inc()


class AgentMetrics(ClientMetrics):
    """The metrics of the agent."""

    def __init__(self) -> None:
        super().__init__("agent")
        registry = self.registry
        self.sub_functions = CallbackGauge(
            "subfunction_subfunctions", "SubFunctions of this node.", ("flavour", "phase"), registry
        )
        self.not_ready = CallbackGauge(
            "subfunction_subfunctions_not_ready", "SubFunctions that are not Ready.", ("reason",), registry
        )
        self._listed = Gauge(
            "subfunction_relist_timestamp_seconds", "Unix time of the last comparison with a LIST.", registry=registry
        )
        self._operations = Histogram(
            "subfunction_operation_seconds",
            "Seconds that a successful operation took.",
            ["operation", "flavour"],
            buckets=_KERNEL_SECONDS,
            registry=registry,
        )

    def record_list(self) -> None:
        """Record now as the time of the last comparison with a LIST."""
        self._listed.set_to_current_time()

    def record_step(self, operation: str, flavour: str, seconds: float) -> None:
        """Record the duration of an operation (`create_port`) that had its effect."""
        self._operations.labels(operation, flavour).observe(seconds)


class ControllerMetrics(ClientMetrics):
    """The metrics of the controller."""

    def __init__(self) -> None:
        super().__init__("controller")
        registry = self.registry
        self._leader = Gauge("subfunction_leader", "1 while this process has the Lease, else 0.", registry=registry)
        self.unplaced = CallbackGauge(
            "subfunction_subfunctions_unplaced", "SubFunctions that no node was chosen for.", (), registry
        )

    def set_leader(self) -> None:
        """Record that this process has the Lease; it is never unset, since the process ends when it loses the Lease."""
        self._leader.set(1)


class PluginMetrics(ProgramMetrics):
    """The metrics of the device plugin."""

    def __init__(self) -> None:
        super().__init__("device-plugin")
        registry = self.registry
        self.devices = CallbackGauge(
            "subfunction_devices", "Devices as reported to the kubelet.", ("resource", "health"), registry
        )
        self.unhealthy = CallbackGauge(
            "subfunction_devices_unhealthy", "Devices reported to the kubelet as unhealthy.", ("reason",), registry
        )
        self.streams = CallbackGauge(
            "subfunction_list_streams",
            "ListAndWatch streams that the kubelet has open; 1 is right.",
            ("resource",),
            registry,
        )
        self._registrations = Counter(
            "subfunction_registrations", "Registrations that the kubelet accepted.", ["resource"], registry=registry
        )
        self._turned_down = Counter(
            "subfunction_registrations_failed", "Registrations that failed.", ["resource"], registry=registry
        )
        self._allocations = Counter(
            "subfunction_allocations", "Allocate calls that were answered.", ["resource"], registry=registry
        )
        self._refusals = Counter(
            "subfunction_allocations_refused", "Allocate calls that were refused.", ["reason"], registry=registry
        )
        self._stale = Counter(
            "subfunction_prestarts_refused", "PreStartContainer calls that were refused.", ["reason"], registry=registry
        )
        self._seconds = Histogram(
            "subfunction_allocation_seconds",
            "Seconds that Allocate took.",
            buckets=_ANSWER_SECONDS,
            registry=registry,
        )

    def record_registration(self, resource: str) -> None:
        """Count a registration after which the kubelet opened its ListAndWatch stream."""
        self._registrations.labels(resource).inc()

    def record_registration_failure(self, resource: str) -> None:
        """Count a registration that the kubelet refused, or after which it opened no stream."""
        self._turned_down.labels(resource).inc()

    def record_allocation(self, resource: str, seconds: float) -> None:
        """Count an Allocate that was answered."""
        self._allocations.labels(resource).inc()
        self._seconds.observe(seconds)

    def record_allocation_refusal(self, reason: str, seconds: float) -> None:
        """Count an Allocate that was refused."""
        self._refusals.labels(known_reason(reason)).inc()
        self._seconds.observe(seconds)

    def record_start_refusal(self, reason: str) -> None:
        """Count a PreStartContainer that was refused."""
        self._stale.labels(known_reason(reason)).inc()


def known_reason(reason: str) -> str:
    """Return `reason` if this version knows it, else `Other`."""
    return reason if reason in _KNOWN else OTHER


def _reasons_of(kind: type[SubFunctionError]) -> frozenset[Reason]:
    return frozenset({kind.reason}).union(*(_reasons_of(each) for each in kind.__subclasses__()))


_KNOWN: Final = frozenset(str(reason) for reason in Reason)
