"""What can go wrong around a virtual machine.

HarnessError
├── HostLacks        a tool is missing on this host
├── BuildFailed      a download, a compilation or an image did not succeed
├── MachineDied      QEMU ended by itself, or the guest no longer answers
├── KernelFault      the guest's kernel wrote a warning, an oops or a call trace
└── CommandFailed    a command in the guest ended with another code than asked for
"""


class HarnessError(Exception):
    """Something around the machine failed; the message says what to do next where that is known."""


class HostLacks(HarnessError):
    """This host has not got what the virtual machine needs."""


class BuildFailed(HarnessError):
    """An input of the machine could not be made."""


class MachineDied(HarnessError):
    """The machine ended, or stopped answering, before it was told to."""

    def __init__(self, what: str, console: str) -> None:
        super().__init__(f"{what}\n--- end of the console ---\n{console}")


class KernelFault(HarnessError):
    """The kernel complained: whatever the tests say, the run has failed."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        super().__init__("\n".join(("the kernel complained:", *lines)))


class CommandFailed(HarnessError):
    """A command in the guest did not end as asked."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command!r} ended with {code}\n{output}")
        self.code = code
        self.output = output
