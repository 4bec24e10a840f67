"""The objects of one node, and what must be true of them whatever happened."""

import dataclasses
from collections import Counter

from matrix.sight import sight
from rig.pods import Tenants
from rig.world import OTHER_PARENT, PARENT, World
from subfunction.kernel.address import Handle
from subfunction.state.claims import PortClaim
from subfunction.state.records import State, find_mismatch
from subfunction_operator.agent.model.decision import ReconcileResult, Settled
from subfunction_operator.agent.model.observation import RetryState


class Throng:
    """The objects of a world, worked on by an agent; remembers what they have published."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tenants = Tenants(world)
        self.clean = Counter(sight(world.kernel))
        self.theirs: dict[tuple[Handle, int], tuple[object, ...]] = {}
        self.published: dict[str, tuple[str | None, int]] = {}
        self.outcomes: dict[str, ReconcileResult] = {}
        self.waiting: dict[str, ReconcileResult] = {}

    def work(self, name: str) -> None:
        """Let the agent work on one object, or on what it left."""
        uid = f"uid-{name}"
        self.outcomes.pop(uid, None)
        if uid not in self.world.objects and self.world.records.read(uid) is None:
            return
        last = self.waiting.pop(uid, None)
        # One that waited as long before is overdue, and then the agent takes it down and up again.
        memory = RetryState() if last is None else dataclasses.replace(last.memory, probed=False, overdue=True)
        result = self.world.settle(name, memory)
        if result.attaching:
            self.waiting[uid] = result
        assert "did not come to rest" not in str(result.error), f"{name}: {result.error}"
        known = self.world.objects.get(uid)
        if known is not None or self.world.records.read(uid) is not None:
            self.outcomes[uid] = result
        if known is None:
            self.published.pop(uid, None)
        elif known.status.number is not None:
            shown = known.status.parent, known.status.number
            assert self.published.setdefault(uid, shown) == shown, f"{name} was {self.published[uid]}, and is {shown}"

    def nothing_is_left(self, *, refused: bool) -> None:
        """Compare the kernel with how it was before anybody asked for anything.

        A virtual function whose settings the kernel `refused` to give back stays as it is: it is not held for that.
        """
        left = Counter(sight(self.world.kernel))
        more, less = (
            [line for line in lines.elements() if not (refused and " vf 0: " in line)]
            for lines in (left - self.clean, self.clean - left)
        )
        assert not more, f"{more} in the place of {less}"
        assert not less

    def foreign_are_as_they_were(self) -> None:
        """Compare each sub-function of others with how they left it."""
        for (handle, number), before in self.theirs.items():
            # Whether theirs attaches is the kernel's business.
            now = self.world.as_text(number, handle)
            assert now[:6] == before[:6], f"{handle} {number} was {before}, and is {now}"

    def numbers_are_given_once(self) -> None:
        """Compare what the records claim, and what the kernel has."""
        claims = [record.claim for record in self.world.records.read_all().items.values()]
        numbers = [(claim.parent, claim.number) for claim in claims if isinstance(claim, PortClaim)]
        assert len(numbers) == len(set(numbers)), numbers
        for handle in (PARENT, OTHER_PARENT):
            if handle in self.world.kernel.hardware.instances:
                there = self.world.port_numbers(handle)
                assert len(there) == len(set(there)), there

    def held_ones_are_whole(self) -> None:
        """Compare each device that a pod has, and that the kernel has not lost, with what the pod was promised."""
        for uid, tenant in self.tenants.all.items():
            known = self.world.objects.get(uid)
            forced = known is None or known.spec.deletion == "Force"
            if tenant.whole and not forced:
                found = find_mismatch(tenant.record.witness, self.world.sysfs)
                assert found is None, f"{tenant.record.name} is held: {found}"

    def those_at_rest_are_offered(self) -> None:
        """Look at every object that the agent is done with."""
        for uid, result in self.outcomes.items():
            known = self.world.objects.get(uid)
            if known is None or known.deleting or result.decision != Settled():
                continue
            record = self.world.records.read(uid)
            assert record is not None, known
            shown = known.status.device
            assert (record.state, shown and shown.id) == (State.READY, record.device_id), f"{known} {record}"
