"""Objects of every flavour, pods, other tools, a kernel that loses things, and an agent that is killed: all at random.

`pytest --hypothesis-profile=deep` looks longer than the quick run of every day.
"""

import contextlib
import errno
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rig.folder import folder
from rig.throng import Throng
from rig.wishes import CHANGES, OF_FLAVOUR, TOPOLOGY, WISHES
from rig.world import OTHER_PARENT, PARENT, Killed, World
from subfunction.errors import Foreign, SubFunctionError
from subfunction.kernel.address import Handle
from subfunction.kernel.uapi import EswitchMode
from subfunction.state.claims import PortClaim
from subfunction.state.records import Record
from subfunction_operator.agent.model.decision import Settled
from subfunction_operator.agent.model.observation import NodePolicy
from subfunction_simulator.kernel import Kind, Operation
from subfunction_simulator.kernel.netlink.wire import Refusal

NAMES = st.sampled_from(sorted(WISHES))
PARENTS = st.sampled_from([PARENT, OTHER_PARENT])
MODULES = ("mlx5_ib", "mlx5_vdpa", "vhost_vdpa", "virtio_vdpa", "vfio_pci")
SETTINGS = {Operation.SET_MAC, Operation.SET_CAPABILITIES, Operation.SET_LINK}
POLICIES = (
    NodePolicy(),
    NodePolicy(device_nodes="cdi"),
    NodePolicy(device_nodes="cdi", net_devices=("subfunction.dev/mlx5", "subfunction.dev/virtio")),
)
REFUSED = sorted(set(Operation) - {Operation.ESWITCH_SET})


class Node(RuleBasedStateMachine):
    """One node, and everything that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = folder()
        self.world = World(Path(self.folder.name), TOPOLOGY)
        self.throng = Throng(self.world)
        self.kernel = self.world.kernel
        self.refused_to_set = False
        self.rdma_namespaces = "Y"

    def teardown(self) -> None:
        try:
            self.all_is_well_again()
            self.everybody_comes_to_rest()
            self.nothing_is_left_in_the_end()
        finally:
            self.kernel.release_all()
            self.folder.cleanup()

    # --- people and pods ---

    @initialize(names=st.lists(NAMES, min_size=2, unique=True), exclusive=st.booleans())
    def some_are_there(self, names: list[str], *, exclusive: bool) -> None:
        self.rdma_namespaces = "N" if exclusive else "Y"
        self.set_rdma_namespaces()
        for name in names:
            self.world.apply(name, **WISHES[name].spec({}))
            self.throng.work(name)

    @rule(name=NAMES, changes=CHANGES, data=st.data())
    def apply(self, name: str, changes: dict[str, Any], data: st.DataObject) -> None:
        known, wish = self.world.objects.get(f"uid-{name}"), WISHES[name]
        if known is None or not known.deleting:
            of_flavour: dict[str, Any] = data.draw(OF_FLAVOUR[wish.flavour])
            if name == "mediated":
                changes = {key: value for key, value in changes.items() if key == "deletionPolicy"}
            self.world.apply(name, **wish.spec({**changes, **of_flavour}))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if f"uid-{name}" in self.world.objects:
            self.world.delete(name)

    @rule(name=NAMES, in_ledger=st.booleans(), moved=st.booleans())
    def a_pod_comes(self, name: str, *, in_ledger: bool, moved: bool) -> None:
        self.throng.tenants.take(f"uid-{name}", in_ledger=in_ledger, moved=moved)

    @rule(name=NAMES, mtu=st.sampled_from([None, 1300]))
    def a_pod_ends(self, name: str, mtu: int | None) -> None:
        self.throng.tenants.give_back(f"uid-{name}", mtu=mtu)

    # --- the agent ---

    @rule(name=NAMES)
    def work(self, name: str) -> None:
        self.throng.work(name)

    @rule()
    def work_on_all(self) -> None:
        for name in WISHES:
            self.throng.work(name)

    @rule(name=NAMES, moment=st.integers(0, 30))
    def work_and_be_killed(self, name: str, moment: int) -> None:
        self.world.restart(kill_at=moment)
        with contextlib.suppress(Killed):
            self.throng.work(name)
        self.world.restart()

    @rule(policy=st.sampled_from(POLICIES))
    def it_is_started_with_another_delivery(self, policy: NodePolicy) -> None:
        self.world.policy = policy
        self.world.restart()

    # --- other tools ---

    @rule(parent=PARENTS, number=st.integers(1, 4), active=st.booleans())
    def somebody_makes_one(self, parent: Handle, number: int, *, active: bool) -> None:
        self.kernel.settle()
        if self.there(parent) and number not in self.world.port_numbers(parent):
            with contextlib.suppress(SubFunctionError):  # an ordered refusal met them instead
                # A real address: an inactive one of ice with a random address may be what a crash left of ours.
                self.world.foreign(number, mac="b8:59:9f:aa:aa:aa", active=active, handle=parent)
            if number in self.world.port_numbers(parent):
                self.throng.theirs[parent, number] = self.world.as_text(number, parent)

    @rule(parent=PARENTS, number=st.integers(1, 4))
    def somebody_deletes_one(self, parent: Handle, number: int) -> None:
        if self.there(parent) and number in self.world.port_numbers(parent):
            self.lost(parent, number)
            self.throng.theirs.pop((parent, number), None)
            self.delete_port(parent, number)
            self.firmware_is_done(Kind.DETACH)

    # --- the kernel ---

    @rule(operation=st.sampled_from(REFUSED))
    def refuse(self, operation: Operation) -> None:
        self.refused_to_set |= operation in SETTINGS
        self.kernel.faults.fail_next(operation, errno.EIO, "mlx5_core: firmware")

    @rule(kind=st.sampled_from(sorted(Kind)), held=st.booleans())
    def firmware(self, kind: Kind, *, held: bool) -> None:
        (self.kernel.hold if held else self.kernel.let_go)(kind)

    @rule(parent=PARENTS)
    def driver_starts_anew(self, parent: Handle) -> None:
        if self.there(parent):
            self.lose_all(parent)
            self.kernel.crash_driver(parent)

    @rule(parent=PARENTS)
    def card_is_taken_out(self, parent: Handle) -> None:
        if self.there(parent):
            self.lose_all(parent)
            self.kernel.remove_parent(parent)

    @rule()
    def cards_are_found(self) -> None:
        self.kernel.rescan()

    @rule(parent=PARENTS, mode=st.sampled_from([EswitchMode.LEGACY, EswitchMode.SWITCHDEV]))
    def switch(self, parent: Handle, mode: EswitchMode) -> None:
        if self.there(parent) and self.kernel.nic(parent).mode is not mode:
            self.lose_all(parent)
            self.kernel.set_eswitch_mode(parent, mode)

    @rule(name=NAMES)
    def driver_is_unbound(self, name: str) -> None:
        record = self.of(name)
        if record is not None and ".sf." in record.device_id:
            self.lost_of(name)
            self.kernel.unbind_function(record.device_id)

    @rule(name=NAMES)
    def firmware_loses_it(self, name: str) -> None:
        record = self.of(name)
        if record is not None and isinstance(record.claim, PortClaim):
            parent, number = Handle.parse(record.claim.parent), record.claim.number
            there = self.there(parent) and number in self.world.port_numbers(parent)
            if there and (parent, number) not in self.throng.theirs:
                self.lost_of(name)
                self.kernel.lose_function(parent, number)
                self.firmware_is_done(Kind.DETACH)

    @rule(name=NAMES)
    def netdev_is_renamed(self, name: str) -> None:
        record = self.of(name)
        here = {netdev.name for netdev in self.kernel.hardware.netdevs if netdev.namespace is None}
        if record is not None and (old := record.env.get("SUBFUNCTION_NETDEV")) in here:
            assert old is not None
            self.kernel.rename_netdev(old, f"{name}0" if old != f"{name}0" else f"{name}1")

    @rule(module=st.sampled_from(MODULES), loaded=st.booleans())
    def module(self, module: str, *, loaded: bool) -> None:
        if loaded:
            self.kernel.load_module(module)
        elif module in self.kernel.modules.names:
            self.throng.tenants.lose_all(str(PARENT))
            self.throng.outcomes.clear()
            self.kernel.unload_module(module)

    @rule()
    def reboot(self) -> None:
        for uid in tuple(self.throng.tenants.all):
            self.throng.tenants.give_back(uid)
        self.throng.theirs.clear()
        self.throng.outcomes.clear()
        self.world.reboot()
        self.set_rdma_namespaces()

    @precondition(lambda self: self.published())
    @rule()
    def run_is_lost(self) -> None:
        self.world.lose_records()
        self.world.pods.in_ledger.clear()
        self.throng.outcomes.clear()
        self.world.restart()

    # --- what always holds ---

    @invariant()
    def promises_are_kept(self) -> None:
        self.throng.foreign_are_as_they_were()
        self.throng.numbers_are_given_once()
        self.throng.held_ones_are_whole()
        self.throng.those_at_rest_are_offered()
        assert self.world.wrong_papers() == []

    # --- the end ---

    def all_is_well_again(self) -> None:
        for kind in Kind:
            self.firmware_is_done(kind)
        for uid in tuple(self.throng.tenants.all):
            self.throng.tenants.give_back(uid)
        self.kernel.rescan()
        for parent in (PARENT, OTHER_PARENT):
            self.kernel.set_eswitch_mode(parent, EswitchMode.SWITCHDEV)
        for module in MODULES:
            self.kernel.load_module(module)
        self.world.restart()

    def everybody_comes_to_rest(self) -> None:
        for _ in range(len(REFUSED) + 4):  # refusals that were ordered and not met yet strike here
            for name in WISHES:
                self.throng.work(name)
                self.make_room(name)
            if all(result.decision == Settled() for result in self.throng.outcomes.values()):
                break
        for uid, result in self.throng.outcomes.items():
            assert (result.error, result.decision) == (None, Settled()), f"{uid}: {result.error or result.decision}"
        self.promises_are_kept()

    def make_room(self, name: str) -> None:
        """Let somebody take away theirs that stands in the way of ours, as the object says they should."""
        result = self.throng.outcomes.get(f"uid-{name}")
        known = self.world.objects.get(f"uid-{name}")
        if result is None or not isinstance(result.error, Foreign) or known is None:
            return
        parent, number = WISHES[name].parent, known.status.number
        if number is not None and (parent, number) in self.throng.theirs:
            self.somebody_deletes_one(parent, number)
            self.kernel.settle()

    def nothing_is_left_in_the_end(self) -> None:
        for name in WISHES:
            self.delete(name)
        for _ in range(len(REFUSED)):
            self.work_on_all()
        assert (self.world.objects, self.world.records.read_all().items) == ({}, {})
        artifacts = (self.world.papers.cdi, self.world.papers.device_info)
        assert [path for folder in artifacts for path in folder.glob("*")] == []
        self.throng.foreign_are_as_they_were()
        for parent, number in tuple(self.throng.theirs):
            self.delete_port(parent, number)
        self.kernel.settle()
        self.throng.nothing_is_left(refused=self.refused_to_set)

    def delete_port(self, parent: Handle, number: int) -> None:
        """Delete a port as a stubborn person does: an ordered refusal may meet them instead of us."""
        while number in self.world.port_numbers(parent):
            with contextlib.suppress(Refusal):
                self.kernel.lose_port(parent, number)

    def firmware_is_done(self, kind: Kind) -> None:
        """Let what was begun come to its end before anybody takes what is still there."""
        self.kernel.let_go(kind)
        self.kernel.settle()

    def set_rdma_namespaces(self) -> None:
        """Say whether an RDMA device is in one network namespace at a time, as `rdma system set netns` does."""
        self.kernel.tree.directory("module/ib_core/parameters", {"netns_mode": self.rdma_namespaces})

    # --- looks ---

    def there(self, parent: Handle) -> bool:
        return parent in self.kernel.hardware.instances

    def of(self, name: str) -> Record | None:
        return self.world.records.read(f"uid-{name}")

    def published(self) -> bool:
        """Whether all that was made stands in a status, and nothing would be lost that stands in a record alone."""
        known = self.world.objects
        return "uid-function" not in self.world.records.read_all().items and all(
            uid in known and known[uid].status.device is not None for uid in self.world.records.read_all().items
        )

    def lost_of(self, name: str) -> None:
        if (tenant := self.throng.tenants.all.get(f"uid-{name}")) is not None:
            self.throng.tenants.lost(tenant)

    def lost(self, parent: Handle, number: int) -> None:
        for uid, record in self.world.records.read_all().items.items():
            claim = record.claim
            if isinstance(claim, PortClaim) and (claim.parent, claim.number) == (str(parent), number):
                self.lost_of(uid.removeprefix("uid-"))

    def lose_all(self, parent: Handle) -> None:
        self.throng.tenants.lose_all(str(parent))
        self.throng.theirs = {key: before for key, before in self.throng.theirs.items() if key[0] != parent}
        self.throng.outcomes.clear()


Node.TestCase.settings = settings(
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestNode = Node.TestCase
