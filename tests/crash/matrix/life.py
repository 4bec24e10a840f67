"""One object's life under fire: at each operation the agent is killed at one point, and the next one has to finish it."""

import asyncio
import dataclasses
import time
from typing import Any, Final

from matrix.flavours import Flavour, Operation
from matrix.judge import Judge
from matrix.moments import Order
from matrix.stage import PATIENCE, Late, Stage, staged
from matrix.zygote import Zygote
from subfunction_simulator.kernel import Kind

_POLL: Final = 0.01


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """Where an agent is killed during an operation: at a moment, or while the kernel takes its time (`held`)."""

    operation: str
    moment: str = ""
    nth: int = 1
    held: str = ""
    again: int = 0
    """At which of its first moments the second agent is killed too; 0 is not."""

    def __str__(self) -> str:
        """Name it as the table does, and as `--point` takes it."""
        where = f"while {self.held} waits" if self.held else f"{self.moment}#{self.nth}"
        return f"{self.operation}/{where}" + (f"+{self.again}" if self.again else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Ordeal:
    """What became of one operation: where it was killed, how long recovery took, and what is wrong."""

    flavour: str
    operation: str
    point: Point | None
    killed: bool = False
    seconds: float = 0.0
    complaints: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    """What the agents did for the operation."""


@dataclasses.dataclass(frozen=True, slots=True)
class Life:
    """The story of a flavour, with a point for each operation that is to be disturbed."""

    flavour: Flavour
    points: tuple[Point, ...] = ()

    async def lived(self, zygote: Zygote) -> list[Ordeal]:
        """Live it, up to the first operation that goes wrong."""
        ordeals: list[Ordeal] = []
        async with staged(self.flavour, zygote) as stage:
            judge = Judge(self.flavour, stage)
            await stage.ready()
            for operation in self.flavour.operations:
                point = next((point for point in self.points if point.operation == operation.name), None)
                ordeal = await _Trial(self.flavour, stage, judge, operation, point).held()
                ordeals.append(ordeal)
                if ordeal.complaints:
                    break
        return ordeals


@dataclasses.dataclass(slots=True)
class _Trial:
    flavour: Flavour
    stage: Stage
    judge: Judge
    operation: Operation
    point: Point | None
    killed: bool = False

    async def held(self) -> Ordeal:
        before = len(self.stage.moments)
        seconds, complaints = 0.0, []
        try:
            began = await self._begun()
            complaints = await self._settled()
            seconds = time.monotonic() - began
            if not complaints:
                await self.stage.quiet()
                complaints = [f"and then: {each}" for each in await self.judge.complaints(self.operation)]
        except Late as late:
            complaints = [str(late), *await self.judge.complaints(self.operation)]
        if complaints:
            complaints.append(await self.stage.last_words())
        return Ordeal(
            self.flavour.name,
            self.operation.name,
            self.point,
            self.killed,
            seconds,
            tuple(complaints),
            tuple(self.stage.moments[before:]),
        )

    async def _begun(self) -> float:
        """Ask for the operation, kill whom it was to kill, and give the moment at which the last agent started."""
        point, stage = self.point, self.stage
        if point is None:
            await self._asked()
        elif point.held:
            return await self._killed_while_waiting(point)
        else:
            stage.orders.give(Order(point.moment, point.nth))
            await self._asked()
            await stage.killed()
            self.killed = True
            if point.again:
                await self._killed_again(point.again)
            stage.start()
        return time.monotonic()

    async def _killed_again(self, nth: int) -> None:
        """Kill the next agent too, unless it has done all there is to do before its time comes."""
        stage = self.stage
        stage.orders.give(Order("", nth))
        stage.start()
        deadline = time.monotonic() + PATIENCE
        while not stage.dead:
            if not await self.judge.complaints(self.operation) or time.monotonic() > deadline:
                stage.orders.give(None)
                stage.kill()
                return
            await asyncio.sleep(_POLL)
        stage.bury()

    async def _killed_while_waiting(self, point: Point) -> float:
        """Kill the agent while the firmware takes its time; the next one finds it still at work."""
        stage, kernel, kind = self.stage, self.stage.cluster.kernel, Kind(point.held)
        kernel.hold(kind)
        before = len(stage.moments)
        await self._asked()
        sign = "after Activate" if kind is Kind.ATTACH else "after Deactivate"
        await stage.until(lambda: sign in stage.moments[before:], f"the agent waits for {point.held}")
        await stage.quiet()
        stage.kill()
        self.killed = True
        await stage.ready()
        kernel.let_go(kind)
        return time.monotonic()

    async def _asked(self) -> None:
        spec: dict[str, Any] | None = dict(self.operation.spec) if self.operation.spec is not None else None
        if spec is None:
            await self.stage.delete()
        elif await self.stage.object() is None:
            await self.stage.create(spec)
        else:
            await self.stage.change(spec)

    async def _settled(self) -> list[str]:
        """Wait until the judge has nothing to complain of, and take note of what was published."""
        deadline = time.monotonic() + PATIENCE
        while complaints := await self.judge.complaints(self.operation):
            if time.monotonic() > deadline:
                return complaints
            await asyncio.sleep(_POLL)
        found = await self.stage.object()
        if found is not None:
            self.judge.settled(found)
        return []
