"""The serial console, and what must never stand in it."""

import re
from pathlib import Path

from harness.errors import KernelFault

FAULT = re.compile(rb"Oops|WARNING:|BUG:|Call Trace|Kernel panic|general protection|UBSAN|KASAN|refcount_t|memory leak")

WARNING = re.compile(rb"WARNING: CPU: \d+ PID: \d+ at ")
END = b"---[ end trace"


class Console:
    """The console of one machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tail(self, lines: int = 80) -> str:
        """The last lines."""
        if not self.path.exists():
            return "(nothing)"
        text = self.path.read_bytes().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(nothing)"

    def check(self, allowed: str | None = None) -> None:
        """Look for the kernel's complaints; one warning whose first line has the text `allowed` is none.

        Raises:
            KernelFault: there is one; the lines around it are quoted.
        """
        if not self.path.exists():
            return
        lines = self.path.read_bytes().splitlines()
        passed = range(0)
        for number, line in enumerate(lines):
            if number in passed:
                continue
            if allowed is not None and not passed and WARNING.search(line) and allowed.encode() in line:
                ends = (at for at, after in enumerate(lines[number:], number) if END in after)
                passed = range(number, next(ends, number) + 1)
            elif FAULT.search(line):
                quoted = lines[max(0, number - 5) : number + 60]
                raise KernelFault(tuple(part.decode(errors="replace") for part in quoted))
