"""QEMU's monitor protocol (docs/interop/qmp-spec.txt of QEMU): one request, one answer, events ignored."""

import json
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.unix import connect


class Monitor:
    """A connection to the monitor."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = connect(path, timeout)
        self._lines = self._socket.makefile("rb")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Execute a command and return what it answers.

        Raises:
            HarnessError: QEMU refused it.
            OSError: the connection is gone, or the answer late.
        """
        request = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise HarnessError(f"QEMU refused {command}: {answer['error'].get('desc')}")

    def human(self, line: str) -> str:
        """Execute a command of the human monitor, for what has no other form.

        Raises:
            HarnessError: it answered anything at all; these commands say nothing when all is well.
        """
        answer = str(self.execute("human-monitor-command", **{"command-line": line})).strip()
        if answer:
            raise HarnessError(f"QEMU refused {line!r}: {answer}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("QEMU closed its monitor")
        answer: dict[str, Any] = json.loads(line)
        return answer
