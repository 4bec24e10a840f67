"""These settings say how the demo runs."""

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """The demo of one node has these settings."""

    keep: bool = False
    """Stay up after the story, for kubectl, until Ctrl-C."""

    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0
    """The port of the API server; 0 takes any free one."""

    examples: Path | None = None
    """The folder with `subfunction.yaml` and `pod.yaml`; by default examples/01-native-nic of the project."""

    verbose: bool = False
    """Show what the programs log."""
