"""What can be set of each program of a cluster: one name in four spellings (flag, environment, Helm value, docs)."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """How a program is listened to; each adds what is its own."""

    listen: str = ""
    """Where `/metrics`, `/livez` and `/readyz` are served (`:9341`, `127.0.0.1:9341`, `[::1]:9341`); empty: nowhere."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged: from what severity on."""

    log_format: Literal["text", "json"] = "text"
    """Form of the log: lines for people, or one JSON object a line for collectors."""
