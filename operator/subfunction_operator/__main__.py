"""`subfunction-operator agent` and `subfunction-operator controller`: the command line."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Annotated, Any

from cyclopts import App, Parameter
from cyclopts.config import Env

from subfunction.errors import SubFunctionError
from subfunction.process import log
from subfunction_operator.agent.settings import Settings
from subfunction_operator.check_settings import CheckSettings
from subfunction_operator.controller.settings import ControllerSettings

_LOG = logging.getLogger("subfunction_operator")
_DEFAULTS = ControllerSettings()

app = App(
    name="subfunction-operator",
    help="Turn SubFunction objects into sub-functions of SmartNICs: the agent of a node, the controller of a cluster.",
    version=version("subfunction"),
    config=Env("SUBFUNCTION_", command=False),
)


@app.command
def agent(settings: Annotated[Settings, Parameter(name="*")]) -> int:
    """Work for one node: make, configure, repair and remove its sub-functions."""
    # Imported here: `--help` should not wait for kopf.
    from subfunction_operator.agent.main import run  # noqa: PLC0415

    log.configure_logging(settings.log_level, settings.log_format, settings.node_name)
    # kopf says of each event that its handler succeeded, which is no news.
    logging.getLogger("kopf.objects").setLevel(max(logging.WARNING, logging.getLogger().level))
    return _ended(run(settings))


@app.command
def controller(settings: Annotated[ControllerSettings, Parameter(name="*")] = _DEFAULTS) -> int:
    """Work for the cluster: pools, placement, and what deleted Nodes left. One at a time, by a Lease."""
    from subfunction_operator.controller.main import run  # noqa: PLC0415  # as above

    log.configure_logging(settings.log_level, settings.log_format)
    return _ended(run(settings))


def _ended(program: Coroutine[Any, Any, None]) -> int:
    try:
        asyncio.run(program)
    except SubFunctionError as error:
        _LOG.critical("%s", error)
        return 1
    return 0


@app.command
def check(settings: Annotated[CheckSettings, Parameter(name="*")]) -> int:
    """Say whether what was installed in a cluster works; ends with 1 if something does not."""
    from subfunction_operator.check import check as findings_of  # noqa: PLC0415  # as above: it brings `kubernetes`

    try:
        findings = asyncio.run(findings_of(settings))
    except SubFunctionError as error:
        print(f"subfunction-operator: {error}", file=sys.stderr)  # noqa: T201  # the CLI's edge
        return 1
    for finding in findings:
        print(finding)  # noqa: T201  # the CLI's edge
    return 0 if all(finding.well for finding in findings) else 1


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
