"""Runs inside the machine: the agent, with a clock beside it in the same event loop.

How late the loop was is written to a file, a line each time it was later than any time before: seconds since the agent
began, and the lateness in milliseconds. The file is emptied by whoever wants to measure anew.
"""

import asyncio
import sys
import time
from pathlib import Path

from subfunction_operator.program import run
from subfunction_operator.settings import Settings

TICK = 0.01


async def _timed(path: Path) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late = loop.time() - due
        if late > TICK:
            with path.open("a", encoding="ascii") as file:
                file.write(f"{time.time():.3f} {late * 1000:.0f}\n")


async def main(node_name: str, kubeconfig: str, lateness: str) -> None:
    clock = asyncio.create_task(_timed(Path(lateness)))
    try:
        await run(Settings(node_name=node_name, kubeconfig=Path(kubeconfig), resync=3600))
    finally:
        clock.cancel()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
