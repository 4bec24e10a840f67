"""A node without a cluster: a simulated kernel, a folder of records, pods, and a reconciler that can be killed."""

import dataclasses
from pathlib import Path
from typing import Any, Final

import msgspec

from rig.papers import wrong
from subfunction.api.subfunction import AllocatedTo, Metadata, Status, SubFunction
from subfunction.kernel.address import Handle, Mac
from subfunction.kernel.devlink import Devlink
from subfunction.kernel.netlink.genetlink import Netlink
from subfunction.kernel.sysfs import Sysfs
from subfunction.state.records import Record, State, open_records
from subfunction_operator.agent.api.status import build_status
from subfunction_operator.agent.execute.executor import Executor
from subfunction_operator.agent.execute.kernel import KernelClients
from subfunction_operator.agent.model.decision import ReconcileResult
from subfunction_operator.agent.model.observation import Desired, NodePolicy, Observation, RetryState, Usage
from subfunction_operator.agent.model.query import ObserveRequest
from subfunction_operator.agent.model.steps import Effect
from subfunction_operator.agent.observe.observer import Observer
from subfunction_operator.agent.offer.artifact_store import ArtifactStore
from subfunction_operator.agent.reconcile.dispatcher import reserved_numbers
from subfunction_operator.agent.reconcile.reconciler import Reconciler
from subfunction_simulator.kernel import SimulatedKernel, Timing, Topology

PARENT: Final = Handle.parse("pci/0000:03:00.0")
OTHER_PARENT: Final = Handle.parse("pci/0000:82:00.0")
NOW: Final = "2026-01-01T00:00:00Z"
_POLLS: Final = 40
_POLL_SECONDS: Final = 0.1
_FRESH: Final = RetryState()


class Killed(BaseException):
    """The agent's process ends here, as by SIGKILL: nothing of it is caught, nothing is tidied up."""


@dataclasses.dataclass(slots=True)
class Seam:
    """Hears of each step, keeps them, and kills the agent at one moment: before step n is 2n, after it 2n + 1."""

    kill_at: int | None = None
    steps: list[Effect] = dataclasses.field(default_factory=list)
    moments: int = 0

    def before(self, uid: str, step: Effect) -> None:
        assert uid
        self._moment()
        self.steps.append(step)

    def after(self, uid: str, step: Effect) -> None:
        assert uid
        assert self.steps[-1] is step
        self._moment()

    def _moment(self) -> None:
        moment, self.moments = self.moments, self.moments + 1
        if moment == self.kill_at:
            raise Killed


@dataclasses.dataclass(slots=True)
class Pods:
    """Who holds what: by uid of the sub-function, as the kubelet says; the ledger may not know of it."""

    holding: set[str] = dataclasses.field(default_factory=set)
    in_ledger: set[str] = dataclasses.field(default_factory=set)
    kubelet_answers: bool = True
    asked: int = 0

    def usage(self, record: Record | None, *, refresh: bool) -> Usage:
        if record is None or not (record.device_id or record.remade):
            return Usage()
        if not record.device_id:
            return Usage(why="pod default/p holds what went away") if record.uid in self.in_ledger else Usage()
        if record.uid not in self.in_ledger and record.state is State.READY and not refresh:
            return Usage(refreshed=False)
        self.asked += 1
        if not self.kubelet_answers:
            return Usage(in_use=True, why="it cannot be told")
        if record.uid in self.holding:
            return Usage(in_use=True, why="pod default/p holds it", by=AllocatedTo(namespace="default", name="p"))
        return Usage()

    def take(self, uid: str) -> None:
        self.holding.add(uid)
        self.in_ledger.add(uid)

    def give_back(self, uid: str) -> None:
        self.holding.discard(uid)
        self.in_ledger.discard(uid)


class WithoutRdma:
    """A sysfs in which no RDMA device ever comes up under a sub-function: mlx5_ib is not loaded."""

    def __init__(self, below: Sysfs) -> None:
        self._below = below
        self.read, self.target, self.resolve = self._below.read, self._below.target, self._below.resolve
        self.inode, self.write = self._below.inode, self._below.write

    def names(self, path: str) -> tuple[str, ...]:
        return () if path.endswith(("/infiniband", "/infiniband_verbs")) else self._below.names(path)


class World:
    """One node. `settle` does what the agent does between two writes of a status; `restart` forgets all but disk."""

    def __init__(
        self,
        root: Path,
        topology: Topology | None = None,
        timing: Timing | None = None,
        policy: NodePolicy | None = None,
        flavour: str = "mlx5",
    ) -> None:
        self.root = root
        self.flavour = flavour
        root.mkdir(exist_ok=True)
        self.kernel = SimulatedKernel(root, topology, timing)
        self.records = open_records(root / "records")
        self.papers = ArtifactStore(root / "cdi", root / "devinfo" / "dp")
        self.pods = Pods()
        self.policy = policy or NodePolicy()
        self.seam = Seam()
        self.objects: dict[str, SubFunction] = {}
        self.sysfs: Sysfs = self.kernel.sysfs()
        self.restart()

    # --- people ---

    def apply(self, name: str = "blue", **spec: Any) -> SubFunction:
        """Create or change an object; the uid is made from its name."""
        known = self.objects.get(f"uid-{name}")
        given = {"nodeName": "n1", "flavour": self.flavour, "parent": {"device": str(PARENT)}, **spec}
        generation = known.metadata.generation + 1 if known else 1
        body = {"metadata": {"name": name, "uid": f"uid-{name}", "generation": generation}, "spec": given}
        made = msgspec.structs.replace(SubFunction.of(body), status=known.status if known else Status())
        self.objects[made.uid] = made
        return made

    def delete(self, name: str = "blue") -> None:
        """Say that an object is to go."""
        known = self.objects[f"uid-{name}"]
        metadata = msgspec.structs.replace(known.metadata, deletion_timestamp=NOW)
        self.objects[known.uid] = msgspec.structs.replace(known, metadata=metadata)

    # --- the agent ---

    def restart(self, kill_at: int | None = None) -> None:
        """Start an agent that knows nothing but the folders and the kernel."""
        self.seam = Seam(kill_at)
        self.papers.remove_orphans(self.records)
        boot = (self.root / "boot_id").read_text().strip()
        observer = Observer(self.sysfs, self.records, self.papers, self.pods, boot)
        executor = Executor(self.sysfs, self.records, self.papers, self.seam)
        self.reconciler = Reconciler(observer, executor, self.policy)
        self.doors = KernelClients.create(self.kernel.transport(), filters_lists=self.kernel.topology.filters_dumps)

    @property
    def devlink(self) -> Devlink:
        return self.doors.devlink

    def reboot(self, *, records_survive: bool = False) -> None:
        """Boot the node: no sub-functions, another boot id; /run is a tmpfs and empty."""
        self.kernel.reboot()
        if not records_survive:
            self.lose_records()
        self.pods = Pods()
        self.restart()

    def lose_records(self) -> None:
        """Lose /run while the kernel lives on."""
        for uid in self.records.read_all().items:
            self.records.remove(uid)

    def look(self, name: str = "blue") -> Observation:
        return self.reconciler.observer.observe(
            self.devlink, self.doors.links, ObserveRequest(Desired.of(self.objects[f"uid-{name}"]), PARENT)
        )

    def settle(self, name: str = "blue", memory: RetryState = _FRESH) -> ReconcileResult:
        """Work on one object until it rests, fails, waits for a pod, or has waited long for the kernel."""
        uid = f"uid-{name}"
        known = self.objects.get(uid)
        if known is None:
            left = self.records.read(uid)
            assert left is not None
            desired = Desired.orphan(left)
        else:
            desired = Desired.of(known)
        record = self.records.read(uid)
        parent = Handle.parse(record.claim.parent) if record else self._parent(known)
        reserved = reserved_numbers(list(self.objects.values()), parent, uid)
        for poll in range(_POLLS):
            look = ObserveRequest(desired, parent, reserved)
            result = self.reconciler.reconcile(
                self.doors, look, dataclasses.replace(memory, waited=poll * _POLL_SECONDS)
            )
            memory = result.memory
            if not result.attaching:
                break
        self._publish(uid, result)
        return result

    @staticmethod
    def _parent(known: SubFunction | None) -> Handle:
        if known is None:
            return PARENT
        return Handle.parse(known.status.parent or known.spec.parent.device or str(PARENT))

    def _publish(self, uid: str, result: ReconcileResult) -> None:
        known = self.objects.get(uid)
        if known is None:
            return
        if known.deleting and result.released:
            del self.objects[uid]
        else:
            self.objects[uid] = msgspec.structs.replace(known, status=build_status(known, result, NOW))

    # --- the judge ---

    def port_numbers(self, handle: Handle = PARENT) -> list[int]:
        """List the numbers of a parent's sub-functions as the kernel has them."""
        ports = self.kernel.nic(handle).ports.values()
        return sorted(port.sub_function.number for port in ports if port.sub_function is not None)

    def mac(self, number: int, handle: Handle = PARENT) -> str:
        return str(self.kernel.sub_function(handle, number).mac)

    def record(self, name: str = "blue") -> Record:
        found = self.records.read(f"uid-{name}")
        assert found is not None, f"{name} has no record"
        return found

    def offered(self, name: str = "blue") -> bool:
        found = self.records.read(f"uid-{name}")
        return found is not None and found.state is State.READY and found.health.healthy

    def wrong_papers(self) -> list[str]:
        """Say what is wrong with the files that others read, at whatever moment."""
        boot = (self.root / "boot_id").read_text().strip()
        return list(wrong(self.records, self.papers.cdi, self.papers.device_info, boot))

    def foreign(
        self, number: int, *, mac: str | None = "02:aa:aa:aa:aa:aa", active: bool = True, handle: Handle = PARENT
    ) -> int:
        """Let somebody else make a sub-function with their own tools, and give its port index."""
        theirs = Devlink(Netlink(self.kernel.transport()))
        index = theirs.create_port(handle, pf=0, number=number).index
        if mac is not None:
            self.kernel.sub_function(handle, number).mac = Mac.parse(mac)
        if active:
            theirs.set_active(handle, index, active=True)
            self.kernel.settle()
        return index

    def as_text(self, number: int, handle: Handle = PARENT) -> tuple[object, ...]:
        """Everything about a sub-function that somebody could have changed."""
        function = self.kernel.sub_function(handle, number)
        port = function.port
        return (
            number,
            port.index if port else None,
            str(function.mac),
            function.roce,
            function.max_io_eqs,
            function.active,
            function.attached,
            function.device.name if function.device else None,
        )


def derived(name: str = "blue") -> str:
    """Give the MAC that an object of that name gets when it asks for none."""
    return str(Mac.derived(f"uid-{name}"))


def metadata(name: str, **fields: Any) -> Metadata:
    return Metadata(name=name, uid=f"uid-{name}", **fields)
