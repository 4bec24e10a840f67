"""The log: lines for people, or one JSON object a line; each says what it is about, as far as that is known."""

import contextlib
import contextvars
import dataclasses
import datetime as dt
import json
import logging
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Literal

# gRPC's C core writes lines of its own to standard error, in a form of its own; what they say, our own lines say too.
# It reads this when it is imported, which comes after us. For a person who looks for trouble: GRPC_VERBOSITY=debug.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_OWN: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_KOPFS: Final = frozenset({"k8s_ref", "k8s_skip", "settings"})
"""What kopf hangs on its lines for its own use."""

_concerned: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("concerned", default="")


@contextlib.contextmanager
def concerning(name: str) -> Iterator[None]:
    """Let every line of a block be about this object: also those of threads that take over its context."""
    token = _concerned.set(name)
    try:
        yield
    finally:
        _concerned.reset(token)


class TextFormatter(logging.Formatter):
    """A line for people; the object stands before a message that does not name it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Render one record's first line."""
        name = _concerned.get()
        if name and name not in record.message:
            record.message = f"{name}: {record.message}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, node and object, and whatever was given as `extra`."""

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        known = {"node": self._node, "object": _concerned.get() or _of_kopf(record)}
        line = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in known.items() if value},
            **{key: value for key, value in vars(record).items() if key not in _OWN | _KOPFS},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, form: Literal["text", "json"], node: str = "") -> None:
    """Send the log to standard error in the form asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(node) if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _died


def _died(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("subfunction").critical("a fault ends the program", exc_info=(kind, error, trace))


def effective(settings: Any) -> str:
    """Write settings in one line, each as it would be typed as a flag: `sysfs=/host/sys listen=:9341`."""
    return " ".join(
        f"{each.name.replace('_', '-')}={_typed(getattr(settings, each.name))}" for each in dataclasses.fields(settings)
    )


def _typed(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _of_kopf(record: logging.LogRecord) -> str:
    reference = getattr(record, "k8s_ref", None)
    return str(reference.get("name", "")) if isinstance(reference, dict) else ""
