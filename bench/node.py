"""A node for a measurement: a folder in memory, and the real programs of the node in it."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from subfunction_simulator.demo.processes import NODE, Processes, Stage

RESOURCE: Final = "subfunction.dev/mlx5"
PARENT: Final = "pci/0000:03:00.0"


@contextlib.asynccontextmanager
async def staged() -> AsyncIterator[tuple[Stage, Processes]]:
    """Give a folder with a simulated kernel that listens, and who starts programs in it; all ends with the block."""
    # /run, where records are fsynced, is a tmpfs on a node.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: ASYNC240
    root = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="subfunction-bench-", dir=memory))
    stage = Stage(root)
    processes = Processes(stage, verbose=False)
    try:
        await processes.start("simulated kernel", stage.kernel_command())
        while not stage.netlink.exists():
            processes.check()
            await asyncio.sleep(0.02)
        yield stage, processes
    finally:
        await processes.end()
        await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)


def manifest(name: str, *, node: str = NODE, parent: str = PARENT) -> dict[str, Any]:
    """Give a SubFunction as a person writes it."""
    spec = {"nodeName": node, "flavour": "mlx5", "parent": {"device": parent}}
    return {"apiVersion": "subfunction.dev/v1alpha1", "kind": "SubFunction", "metadata": {"name": name}, "spec": spec}
