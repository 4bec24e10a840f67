"""Configures the log: lines of text for users, or one JSON object a line, with the object they are about if known."""

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

# gRPC's C core writes lines in another form to standard error, and our own lines report the same faults. It reads this
# variable when it is imported, which comes after this module. Set GRPC_VERBOSITY=debug to see its lines.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_OWN: Final = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_KOPFS: Final = frozenset({"k8s_ref", "k8s_skip", "settings"})
"""Attributes that kopf adds to its log records for its own use."""

_concerned: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("concerned", default="")


@contextlib.contextmanager
def log_context(name: str) -> Iterator[None]:
    """Add the object's name to every log line of a block, also to those of threads that copy its context."""
    token = _concerned.set(name)
    try:
        yield
    finally:
        _concerned.reset(token)


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text, with the object's name before a message that does not name it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Return the record's first line."""
        name = _concerned.get()
        if name and name not in record.message:
            record.message = f"{name}: {record.message}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, message, node, object, and the fields of `extra`."""

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        known = {"node": self._node, "object": _concerned.get() or _kopf_object(record)}
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


def configure_logging(level: str, form: Literal["text", "json"], node: str = "") -> None:
    """Send the log to standard error in `form`, and log exceptions that end the program."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(node) if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_thread_death


def _log_thread_death(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("subfunction").critical("a fault ends the program", exc_info=(kind, error, trace))


def format_settings(settings: Any) -> str:
    """Return settings as one line, each as its flag is typed: `sysfs=/host/sys listen=:9341`."""
    return " ".join(
        f"{each.name.replace('_', '-')}={_as_flag(getattr(settings, each.name))}"
        for each in dataclasses.fields(settings)
    )


def _as_flag(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _kopf_object(record: logging.LogRecord) -> str:
    reference = getattr(record, "k8s_ref", None)
    return str(reference.get("name", "")) if isinstance(reference, dict) else ""
