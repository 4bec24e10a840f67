"""What the programs measure: every name, label and bucket. docs/metrics.md says what each is for.

Few labels and small ones: flavours, phases, reasons, verbs, resource names; never an object's name, a uid or a device.
A set of metrics has a registry of its own, so that two of them in one process know nothing of each other. Counters are
counted where something happens; what merely is (`Counted`) is counted when somebody asks, in that asker's thread.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from subfunction.errors import SubFunctionError
from subfunction.reasons import Reason

OTHER: Final = "Other"
"""The reason that stands for one of another version's, which we do not know."""

_KERNEL_SECONDS: Final = (0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 30.0)
"""A netlink request takes tenths of milliseconds, a reload seconds; 30 s is where the agent gives up on a parent."""

_ANSWER_SECONDS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 20.0)
"""Allocate takes milliseconds; 20 s is where the plugin gives up, and the kubelet admits no pod meanwhile."""

Counts = Mapping[tuple[str, ...], float]
"""How many there are, by the values of the labels."""


class Counted(Collector):
    """A gauge that is counted when it is asked for; empty until `source` is set, which must not block."""

    def __init__(self, name: str, documentation: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self.source: Callable[[], Counts] = dict
        self._name, self._documentation, self._labels = name, documentation, labels
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Give the name, so that nobody else takes it."""
        yield GaugeMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Count."""
        (family,) = self.describe()
        for values, number in self.source().items():
            family.add_metric(values, number)
        yield family


class ProgramMetrics:
    """What every program tells of itself."""

    def __init__(self, program: str) -> None:
        # Times of creation would double the series, and nobody asks for them.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's one function without types
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        built = Gauge("subfunction_build_info", "1; the labels say what.", ["program", "version"], registry=registry)
        built.labels(program, version("subfunction")).set(1)
        self.ready = Counted("subfunction_ready", "1 if /readyz says so, else 0.", (), registry)
        self.heartbeats = Counted(
            "subfunction_heartbeat_age_seconds", "Seconds since an event loop last had its turn.", ("loop",), registry
        )
        self._errors = Counter("subfunction_errors", "Faults met, each time.", ["reason"], registry=registry)
        for reason in _of_errors(SubFunctionError):
            self._errors.labels(reason)  # one that comes for the first time shall be a rise

    def failed(self, reason: str) -> None:
        """Count a fault."""
        self._errors.labels(bounded(reason)).inc()


class ClientMetrics(ProgramMetrics):
    """What a program tells that watches the API server and works off a backlog."""

    def __init__(self, program: str) -> None:
        super().__init__(program)
        registry = self.registry
        self._requests = Counter(
            "subfunction_api_requests", "Requests to the API server.", ["verb", "code"], registry=registry
        )
        self._restarts = Counter("subfunction_watch_restarts", "Times that the watch began anew.", registry=registry)
        self.backlog = Counted("subfunction_backlog", "What waits to be looked at.", ("state",), registry)

    def requested(self, verb: str, code: str) -> None:
        """Count a request by Kubernetes' verb and HTTP's code; `none` where no answer came."""
        self._requests.labels(verb, code).inc()

    def watch_restarted(self) -> None:
        """Count that the watch ended and was begun anew."""
        self._restarts.inc()


class AgentMetrics(ClientMetrics):
    """What the agent measures."""

    def __init__(self) -> None:
        super().__init__("agent")
        registry = self.registry
        self.sub_functions = Counted(
            "subfunction_subfunctions", "SubFunctions of this node.", ("flavour", "phase"), registry
        )
        self.not_ready = Counted(
            "subfunction_subfunctions_not_ready", "SubFunctions that are not Ready.", ("reason",), registry
        )
        self._listed = Gauge(
            "subfunction_relist_timestamp_seconds", "When all was last compared with a LIST.", registry=registry
        )
        self._operations = Histogram(
            "subfunction_operation_seconds",
            "Seconds that an operation took which had its effect.",
            ["operation", "flavour"],
            buckets=_KERNEL_SECONDS,
            registry=registry,
        )

    def listed(self) -> None:
        """Note that all is as in a LIST of now."""
        self._listed.set_to_current_time()

    def operated(self, operation: str, flavour: str, seconds: float) -> None:
        """Note that an operation (`create_port`) had its effect."""
        self._operations.labels(operation, flavour).observe(seconds)


class ControllerMetrics(ClientMetrics):
    """What the controller measures."""

    def __init__(self) -> None:
        super().__init__("controller")
        registry = self.registry
        self._leader = Gauge("subfunction_leader", "1 while the Lease is its own, else 0.", registry=registry)
        self.unplaced = Counted(
            "subfunction_subfunctions_unplaced", "SubFunctions that no node was chosen for.", (), registry
        )

    def leads(self) -> None:
        """Note that the Lease is its own; the program ends with it."""
        self._leader.set(1)


class PluginMetrics(ProgramMetrics):
    """What the device plugin measures."""

    def __init__(self) -> None:
        super().__init__("device-plugin")
        registry = self.registry
        self.devices = Counted(
            "subfunction_devices", "Devices as the kubelet is told of them.", ("resource", "health"), registry
        )
        self.unhealthy = Counted(
            "subfunction_devices_unhealthy", "Devices that the kubelet is told to be unhealthy.", ("reason",), registry
        )
        self.streams = Counted(
            "subfunction_list_streams", "Lists that the kubelet has open; 1 is right.", ("resource",), registry
        )
        self._registrations = Counter(
            "subfunction_registrations", "Registrations that the kubelet took.", ["resource"], registry=registry
        )
        self._turned_down = Counter(
            "subfunction_registrations_failed", "Registrations that came to nothing.", ["resource"], registry=registry
        )
        self._allocations = Counter(
            "subfunction_allocations", "Allocate calls that were answered.", ["resource"], registry=registry
        )
        self._refusals = Counter(
            "subfunction_allocations_refused", "Allocate calls that were refused.", ["reason"], registry=registry
        )
        self._stale = Counter(
            "subfunction_prestarts_refused", "Containers that were kept from starting.", ["reason"], registry=registry
        )
        self._seconds = Histogram(
            "subfunction_allocation_seconds",
            "Seconds that Allocate took.",
            buckets=_ANSWER_SECONDS,
            registry=registry,
        )

    def registered(self, resource: str) -> None:
        """Count a registration after which the kubelet opened its list."""
        self._registrations.labels(resource).inc()

    def not_registered(self, resource: str) -> None:
        """Count one that the kubelet refused, or after which it opened none."""
        self._turned_down.labels(resource).inc()

    def allocated(self, resource: str, seconds: float) -> None:
        """Count an Allocate that was answered."""
        self._allocations.labels(resource).inc()
        self._seconds.observe(seconds)

    def allocation_refused(self, reason: str, seconds: float) -> None:
        """Count an Allocate that was refused."""
        self._refusals.labels(bounded(reason)).inc()
        self._seconds.observe(seconds)

    def start_refused(self, reason: str) -> None:
        """Count a PreStartContainer that was refused."""
        self._stale.labels(bounded(reason)).inc()


def bounded(reason: str) -> str:
    """Give a reason that we know as it is; whatever an object of another version says is `Other`."""
    return reason if reason in _KNOWN else OTHER


def _of_errors(kind: type[SubFunctionError]) -> frozenset[Reason]:
    return frozenset({kind.reason}).union(*(_of_errors(each) for each in kind.__subclasses__()))


_KNOWN: Final = frozenset(str(reason) for reason in Reason)
