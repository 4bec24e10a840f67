"""The settings that all programs have, each under one name in flag, environment, Helm value and docs."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """The settings that all programs have; each program adds its own."""

    listen: str = ""
    """Address of `/metrics`, `/livez` and `/readyz` (`:9341`, `127.0.0.1:9341`, `[::1]:9341`); empty for none."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest severity that is logged."""

    log_format: Literal["text", "json"] = "text"
    """Form of the log: lines of text for users, or one JSON object a line for collectors."""
