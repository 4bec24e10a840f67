"""Runs inside the machine: the agent, with a clock beside it in the same event loop.

The clock ticks every 10 ms; by how much it was late is written to a file in milliseconds, a line each time it was late
by a tick or more. Whoever wants to measure anew empties the file.
"""

import asyncio
import sys
from pathlib import Path

from subfunction_operator.agent.main import run
from subfunction_operator.agent.settings import Settings

TICK = 0.01


async def main(node_name: str, kubeconfig: str, lateness: str) -> None:
    clock = asyncio.create_task(_tick(Path(lateness)))
    try:
        await run(Settings(node_name=node_name, kubeconfig=Path(kubeconfig), resync=3600, relist=3600))
    finally:
        clock.cancel()


async def _tick(path: Path) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late = loop.time() - due
        if late >= TICK:
            with path.open("a", encoding="ascii") as file:
                file.write(f"{late * 1000:.0f}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
