"""`subfunction-device-plugin`: offers this node's sub-functions to its kubelet."""

import asyncio
import logging
import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import cyclopts

from subfunction.errors import SubFunctionError
from subfunction.process import log
from subfunction_deviceplugin.main import run
from subfunction_deviceplugin.settings import Settings

_LOG = logging.getLogger("subfunction_deviceplugin")

app = cyclopts.App(
    name="subfunction-device-plugin",
    help="Offer this node's sub-functions to its kubelet, from the agent's records.",
    version=version("subfunction"),
    config=cyclopts.config.Env("SUBFUNCTION_"),
)


@app.default
def serve(settings: Annotated[Settings, cyclopts.Parameter(name="*")] = Settings()) -> None:  # noqa: B008 - frozen
    """Serve until SIGTERM or Ctrl-C."""
    log.configure_logging(settings.log_level, settings.log_format, settings.node_name)
    # Only root may open our sockets and the ledger, from the moment they exist.
    os.umask(0o077)
    _LOG.info("subfunction-device-plugin %s: %s", version("subfunction"), log.format_settings(settings))
    try:
        asyncio.run(_run_until_signalled(settings))
    except SubFunctionError as error:
        _LOG.critical("%s", error)
        sys.exit(1)
    _LOG.info("stopped")


async def _run_until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> None:
    """Run the program."""
    app()


if __name__ == "__main__":
    main()
