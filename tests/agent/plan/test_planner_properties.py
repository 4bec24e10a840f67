"""Whatever happened to a node, the agent finds its way: nothing leaks, nothing doubles, nobody else's is touched.

`pytest --hypothesis-profile=deep` looks longer than the quick run of every day.
"""

import errno
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rig.claims import port_claim
from rig.folder import folder
from rig.world import PARENT, Killed, World, derived
from subfunction.errors import Foreign, NumberOwned, SubFunctionError
from subfunction.state.records import State
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_simulator.kernel import Kind, Operation

NAMES = ("a", "b", "c")
REFUSALS = (
    (Operation.PORT_NEW, errno.EBUSY, "mlx5_core: firmware is busy"),
    (Operation.SET_MAC, errno.EIO, "mlx5_core: firmware"),
    (Operation.SET_CAPABILITIES, errno.EIO, "mlx5_core: firmware"),
    (Operation.ACTIVATE, errno.EIO, "mlx5_core: firmware"),
    (Operation.DEACTIVATE, errno.EIO, "mlx5_core: firmware"),
    (Operation.PROBE, errno.ENODEV, ""),
    (Operation.PARAMETER_SET, errno.EIO, ""),
    (Operation.RELOAD, errno.EIO, "mlx5_core: firmware"),
    (Operation.PORT_DELETE, errno.EIO, "mlx5_core: firmware"),
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "number": st.integers(1, 4),
        "macAddress": st.sampled_from(["02:00:00:00:00:01", "02:00:00:00:00:02"]),
        "mlx5": st.sampled_from([{"rdma": False}, {"ioEQSize": 64}, {"ioEQSize": 128, "eventEQSize": 64}]),
        "capabilities": st.sampled_from([{"maxIOEventQueues": 4}, {"maxIOEventQueues": 6}]),
        "deletionPolicy": st.sampled_from(["Drain", "Force"]),
        "representor": st.just({"adminState": "down"}),
    },
)


class Node(RuleBasedStateMachine):
    """Three objects on one parent, and everything that may happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = folder()
        self.world = World(Path(self.folder.name))
        self.theirs: dict[int, tuple[object, ...]] = {}
        self.promised: dict[str, tuple[object, ...]] = {}

    def teardown(self) -> None:
        try:
            self.heal()
            self.everything_comes_to_rest()
            self.nothing_is_left_in_the_end()
        finally:
            self.folder.cleanup()

    # --- people, pods, time ---

    @rule(name=st.sampled_from(NAMES), spec=SPECS)
    def apply(self, name: str, spec: dict[str, Any]) -> None:
        known = self.world.objects.get(f"uid-{name}")
        if known is not None and known.deleting:
            return
        # A number does not change; the API refuses that.
        spec = {key: value for key, value in spec.items() if key != "number" or known is None}
        if known is not None and known.spec.number is not None:
            spec["number"] = known.spec.number
        self.world.apply(name, **spec)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if f"uid-{name}" in self.world.objects:
            self.world.delete(name)

    @rule(name=st.sampled_from(NAMES))
    def forget(self, name: str) -> None:
        if f"uid-{name}" in self.world.records.read_all().items:
            self.world.objects.pop(f"uid-{name}", None)

    @rule(name=st.sampled_from(NAMES))
    def work(self, name: str) -> None:
        self.settled(name)

    @rule(name=st.sampled_from(NAMES), moment=st.integers(0, 24))
    def work_and_be_killed(self, name: str, moment: int) -> None:
        self.world.restart(kill_at=moment)
        try:
            self.settled(name)
        except Killed:
            pass
        finally:
            self.world.restart()

    @rule(name=st.sampled_from(NAMES), in_ledger=st.booleans())
    def allocate(self, name: str, *, in_ledger: bool) -> None:
        if self.world.offered(name):
            number = port_claim(self.world.record(name)).number
            self.promised[f"uid-{name}"] = self.world.as_text(number)
            self.world.pods.holding.add(f"uid-{name}")
            if in_ledger:
                self.world.pods.in_ledger.add(f"uid-{name}")

    @rule(name=st.sampled_from(NAMES))
    def pod_ends(self, name: str) -> None:
        self.promised.pop(f"uid-{name}", None)
        self.world.pods.give_back(f"uid-{name}")

    @rule(answers=st.booleans())
    def kubelet(self, *, answers: bool) -> None:
        self.world.pods.kubelet_answers = answers

    # --- the kernel, behind everybody's back ---

    @rule(refusal=st.sampled_from(REFUSALS))
    def refuse(self, refusal: tuple[Operation, int, str]) -> None:
        self.world.kernel.faults.fail_next(*refusal)

    @rule(number=st.integers(1, 4), active=st.booleans())
    def somebody_makes_one(self, number: int, *, active: bool) -> None:
        self.world.kernel.settle()
        if number not in self.world.port_numbers():
            try:
                self.world.foreign(number, active=active)
            except SubFunctionError:
                return  # an ordered refusal met them instead; half of theirs may stand, and is theirs all the same
            finally:
                if number in self.world.port_numbers():
                    self.theirs[number] = self.world.as_text(number)

    @rule(number=st.integers(1, 4))
    def somebody_deletes_one(self, number: int) -> None:
        if number in self.world.port_numbers():
            self.world.kernel.lose_port(PARENT, number)
            self.theirs.pop(number, None)
            self.broken(number)

    @precondition(lambda self: self.published())
    @rule()
    def run_is_lost(self) -> None:
        self.world.lose_records()
        self.world.pods.in_ledger.clear()
        self.world.restart()

    @rule()
    def reboot(self) -> None:
        self.world.reboot()
        self.theirs.clear()
        self.promised.clear()

    @rule()
    def driver_starts_anew(self) -> None:
        self.world.kernel.crash_driver(PARENT)
        self.theirs.clear()
        self.promised.clear()

    @rule(held=st.booleans())
    def attaching(self, *, held: bool) -> None:
        (self.world.kernel.hold if held else self.world.kernel.let_go)(Kind.ATTACH)

    @rule(name=st.sampled_from(NAMES))
    def unbind(self, name: str) -> None:
        if self.world.offered(name):
            record = self.world.record(name)
            self.world.kernel.unbind_function(record.device_id)
            self.broken(port_claim(record).number)

    # --- what always holds ---

    @invariant()
    def nobody_elses_is_touched(self) -> None:
        for number, before in self.theirs.items():
            # Whether theirs attaches is the kernel's business.
            assert self.world.as_text(number)[:6] == before[:6]

    @invariant()
    def no_number_is_there_twice(self) -> None:
        numbers = self.world.port_numbers()
        assert len(numbers) == len(set(numbers))

    @invariant()
    def what_a_pod_has_stays_as_it_was(self) -> None:
        for uid, before in self.promised.items():
            known = self.world.objects.get(uid)
            number = before[0]
            assert isinstance(number, int)
            if known is None or not (known.deleting and known.spec.deletion_policy == "Force"):
                assert self.world.as_text(number) == before

    # --- the end ---

    def settled(self, name: str) -> ReconcileResult | None:
        uid = f"uid-{name}"
        if uid not in self.world.objects and self.world.records.read(uid) is None:
            return None
        result = self.world.settle(name)
        assert result.error is None or isinstance(result.error, SubFunctionError)
        assert "did not come to rest" not in str(result.error)
        known = self.world.objects.get(uid)
        if known is None or (known.deleting and known.spec.deletion_policy == "Force"):
            self.promised.pop(uid, None)
        return result

    def published(self) -> bool:
        """Whether everything that was made stands in a status: only then may the records be lost."""
        known = self.world.objects
        return all(uid in known and known[uid].status.number is not None for uid in self.world.records.read_all().items)

    def broken(self, number: int) -> None:
        self.promised = {uid: before for uid, before in self.promised.items() if before[0] != number}

    def heal(self) -> None:
        world = self.world
        world.kernel.let_go(Kind.ATTACH)
        world.kernel.let_go(Kind.DETACH)
        for name in NAMES:
            self.pod_ends(name)
        world.pods.kubelet_answers = True
        world.kernel.settle()
        for function in world.kernel.nic(PARENT).sub_functions.values():
            if function.device is not None and function.driver is None:
                world.kernel.bind_function(function.device.name)

    def everything_comes_to_rest(self) -> None:
        outcomes: dict[str, ReconcileResult | None] = {}
        for _ in range(len(REFUSALS) + 4):  # refusals that were ordered and not met yet strike here
            self.heal()
            outcomes = {name: self.settled(name) for name in NAMES}
            if all(result is None or isinstance(result.decision, Settled) for result in outcomes.values()):
                break
        ours = []
        for name in NAMES:
            known = self.world.objects.get(f"uid-{name}")
            result = outcomes[name]
            if known is None or result is None:
                continue
            if isinstance(result.error, Foreign | NumberOwned):
                assert (known.status.number or known.spec.number) in self.world.port_numbers()
                continue
            assert result.decision == Settled(), f"{name}: {result.error or result.decision}"
            record = self.world.record(name)
            function = self.world.kernel.sub_function(PARENT, port_claim(record).number)
            assert (record.state, function.active, function.attached) == (State.READY, True, True)
            assert str(function.mac) == (known.spec.mac_address or derived(name))
            assert known.spec.number in {None, port_claim(record).number}
            assert known.status.number == port_claim(record).number
            ours.append(port_claim(record).number)
        assert self.world.port_numbers() == sorted([*ours, *self.theirs])
        self.nobody_elses_is_touched()

    def nothing_is_left_in_the_end(self) -> None:
        for name in NAMES:
            self.delete(name)
        for _ in range(4):
            for name in NAMES:
                self.settled(name)
        assert self.world.objects == {}
        assert self.world.records.read_all().items == {}
        assert self.world.port_numbers() == sorted(self.theirs)
        self.nobody_elses_is_touched()


Node.TestCase.settings = settings(
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestNode = Node.TestCase
