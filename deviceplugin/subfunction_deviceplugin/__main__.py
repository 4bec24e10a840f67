"""`subfunction-device-plugin`: offers this node's sub-functions to its kubelet."""

import asyncio
import logging
import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import cyclopts

from subfunction import journal
from subfunction.errors import SubFunctionError
from subfunction_deviceplugin import plugin
from subfunction_deviceplugin.settings import Settings

logger = logging.getLogger("subfunction_deviceplugin")

app = cyclopts.App(
    name="subfunction-device-plugin",
    help="Offer this node's sub-functions to its kubelet, from the agent's records.",
    version=version("subfunction"),
    config=cyclopts.config.Env("SUBFUNCTION_"),
)


@app.default
def serve(settings: Annotated[Settings, cyclopts.Parameter(name="*")] = Settings()) -> None:  # noqa: B008 - frozen
    """Serve until SIGTERM or Ctrl-C."""
    journal.configure(settings.log_level, settings.log_format, settings.node_name)
    # Sockets and ledger are root's alone, from the moment they exist.
    os.umask(0o077)
    logger.info("subfunction-device-plugin %s: %s", version("subfunction"), journal.effective(settings))
    try:
        asyncio.run(_until_told(settings))
    except SubFunctionError as error:
        logger.critical("%s", error)
        sys.exit(1)
    logger.info("stopped")


async def _until_told(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await plugin.run(settings, stop)


def main() -> None:
    """Run the program."""
    app()


if __name__ == "__main__":
    main()
