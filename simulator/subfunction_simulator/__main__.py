"""`subfunction-simulator` runs a node without hardware, whole (`demo`) or piece by piece."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Env

from subfunction.errors import SubFunctionError
from subfunction_simulator.apiserver.run import ServerSettings
from subfunction_simulator.apiserver.run import serve as serve_api
from subfunction_simulator.apiserver.server import AddressInUseError
from subfunction_simulator.demo.settings import DemoSettings
from subfunction_simulator.kernel.server import Settings as KernelSettings
from subfunction_simulator.kernel.server import serve as serve_kernel
from subfunction_simulator.kubelet.settings import KubeletSettings

_SERVER, _DEMO = ServerSettings(), DemoSettings()

app = App(
    name="subfunction-simulator",
    help="A node with a simulated SmartNIC: kernel, kubelet and API server with state, and the demo of them all.",
    version=version("subfunction"),
    config=Env("SUBFUNCTION_SIMULATOR_", command=False),
)


@app.command
def kernel(settings: Annotated[KernelSettings, Parameter(name="*")]) -> int:
    """Serve a simulated kernel: netlink's bytes on a Unix socket, sysfs and device nodes in folders."""
    return _run_until_stopped(serve_kernel(settings))


@app.command
def apiserver(settings: Annotated[ServerSettings, Parameter(name="*")] = _SERVER) -> int:
    """Serve the embedded API server, with the project's CRDs installed."""
    return _run_until_stopped(serve_api(settings))


@app.command
def kubelet(settings: Annotated[KubeletSettings, Parameter(name="*")]) -> int:
    """Run the stand-in kubelet of one node: it registers plugins and admits pods, and runs no container."""
    from subfunction_simulator.kubelet.node import run  # noqa: PLC0415  # gRPC is not for `--help`

    return _run_until_stopped(run(settings))


@app.command
def demo(settings: Annotated[DemoSettings, Parameter(name="*")] = _DEMO) -> int:
    """Tell the whole story on this machine: a manifest, a sub-function, a pod that has it, and all given back."""
    from subfunction_simulator.demo.story import tell  # noqa: PLC0415

    return _run_until_stopped(tell(settings))


def _run_until_stopped(program: Coroutine[Any, Any, None]) -> int:
    """Run until it ends or a signal ends it; what a person can mend is one sentence, not a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        asyncio.run(_cancel_on_signal(program))
    except (SubFunctionError, AddressInUseError) as error:
        print(f"subfunction-simulator: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 0
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing reads on, and Python would try once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _cancel_on_signal(program: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(program)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    await task


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
