"""One object's life under fire: at each operation the agent is killed once, and the next one has to finish it."""

import asyncio
import dataclasses
import time
from typing import Final

from matrix.actor import PATIENCE, Late, until
from matrix.flavour import Flavour, Operation
from matrix.judge import Judge
from matrix.moments import Order
from matrix.stage import Stage, staged
from matrix.trial import Ordeal, Point
from matrix.zygote import Zygote
from subfunction_simulator.kernel import Kind

_POLL: Final = 0.01


@dataclasses.dataclass(frozen=True, slots=True)
class Life:
    """The story of a flavour."""

    flavour: Flavour
    points: tuple[Point, ...] = ()

    @property
    def name(self) -> str:
        """The flavour's."""
        return self.flavour.name

    @property
    def operations(self) -> tuple[str, ...]:
        """What a person does to the object."""
        return tuple(operation.name for operation in self.flavour.operations)

    @property
    def waits(self) -> tuple[tuple[str, str], ...]:
        """In which of them the firmware takes its time."""
        return self.flavour.waits

    def disturbed(self, points: tuple[Point, ...]) -> "Life":
        """Give the same life, disturbed at these points."""
        return Life(self.flavour, points)

    async def lived(self, zygote: Zygote) -> list[Ordeal]:
        """Live it, up to the first operation that goes wrong."""
        ordeals: list[Ordeal] = []
        async with staged(self.flavour, zygote) as stage:
            judge = Judge(self.flavour, stage)
            await stage.agent_ready()
            for operation in self.flavour.operations:
                point = next((point for point in self.points if point.operation == operation.name), None)
                ordeal = await _Trial(stage, judge, operation, point).held()
                ordeals.append(dataclasses.replace(ordeal, story=self.name))
                if ordeal.complaints:
                    break
        return ordeals


@dataclasses.dataclass(slots=True)
class _Trial:
    stage: Stage
    judge: Judge
    operation: Operation
    point: Point | None
    killed: bool = False

    async def held(self) -> Ordeal:
        agent = self.stage.agent
        before, seconds = len(agent.moments), 0.0
        try:
            began = await self._begun()
            complaints = await settled(self.judge, self.operation)
            seconds = time.monotonic() - began
            if not complaints:
                await agent.quiet()
                complaints = [f"and then: {each}" for each in await self.judge.complaints(self.operation)]
        except Late as late:
            complaints = [str(late), *await self.judge.complaints(self.operation)]
        if complaints:
            complaints.append(await agent.last_words())
        moments = tuple(agent.moments[before:])
        return Ordeal("", self.operation.name, self.point, self.killed, seconds, tuple(complaints), moments)

    async def _begun(self) -> float:
        """Ask for the operation, kill whom it was to kill, and give the time at which the last agent started."""
        point, agent = self.point, self.stage.agent
        if point is None:
            await self.stage.ask(self.operation.spec)
        elif point.held:
            return await self._killed_while_waiting(point)
        else:
            agent.orders.give(Order(point.moment, point.nth))
            await self.stage.ask(self.operation.spec)
            await agent.killed()
            self.killed = True
            if point.again:
                await self._killed_again(point.again)
            agent.start()
        return time.monotonic()

    async def _killed_again(self, nth: int) -> None:
        """Kill the next agent too, unless it has done all there is to do before its time comes."""
        agent = self.stage.agent
        agent.orders.give(Order("", nth))
        agent.start()
        deadline = time.monotonic() + PATIENCE
        while not agent.dead:
            if not await self.judge.complaints(self.operation) or time.monotonic() > deadline:
                agent.kill()
                return
            await asyncio.sleep(_POLL)
        agent.bury()

    async def _killed_while_waiting(self, point: Point) -> float:
        """Kill the agent while the firmware takes its time; the next one finds it still at work."""
        agent, kernel, kind = self.stage.agent, self.stage.cluster.kernel, Kind(point.held)
        kernel.hold(kind)
        before = len(agent.moments)
        await self.stage.ask(self.operation.spec)
        sign = "after Activate" if kind is Kind.ATTACH else "after Deactivate"
        await until(lambda: sign in agent.moments[before:], f"the agent waits for the {point.held}")
        await agent.quiet()
        agent.kill()
        self.killed = True
        await self.stage.agent_ready()
        kernel.let_go(kind)
        return time.monotonic()


async def settled(judge: Judge, operation: Operation) -> list[str]:
    """Wait until the judge has nothing to complain of; give what it still complains of after a long while."""
    deadline = time.monotonic() + PATIENCE
    while complaints := await judge.complaints(operation):
        if time.monotonic() > deadline:
            return complaints
        await asyncio.sleep(_POLL)
    await judge.settled()
    return []
