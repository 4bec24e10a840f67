"""Runs inside the machine: a stand-in kubelet without an API server, until it is killed."""

import asyncio
import sys
from pathlib import Path

from subfunction_simulator.kubelet.kubelet import Kubelet


async def main(root: Path) -> None:
    await Kubelet(root).start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
