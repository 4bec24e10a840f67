"""The serial console, and what must never stand in it."""

import re
from pathlib import Path

from harness.errors import KernelFault

FAULT = re.compile(rb"Oops|WARNING:|BUG:|Call Trace|Kernel panic|general protection|UBSAN|KASAN|refcount_t|memory leak")


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

    def check(self) -> None:
        """Look for the kernel's complaints.

        Raises:
            KernelFault: there is one; the lines around it are quoted.
        """
        if not self.path.exists():
            return
        lines = self.path.read_bytes().splitlines()
        for number, line in enumerate(lines):
            if FAULT.search(line):
                quoted = lines[max(0, number - 5) : number + 60]
                raise KernelFault(tuple(part.decode(errors="replace") for part in quoted))
