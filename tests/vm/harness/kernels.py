"""The kernels of the machines, each by its series: Debian's packages of it, and what builds modules for it here."""

from dataclasses import dataclass

from harness.apt import BACKPORTS, SUITE


@dataclass(frozen=True, slots=True)
class Kernel:
    """One series; of it the newest version is taken that the suites have."""

    series: str
    suites: tuple[str, ...]
    binaries: tuple[str, ...]
    """The packages to boot and to load modules from; `{}` is the release with its flavour (`uname -r`)."""
    without: tuple[str, ...] = ()
    """Modules of `modules.MODULES` that it has not got and does not need."""
    variables: tuple[str, ...] = ()
    """What `make` is told when a module for it is built with Debian 12's gcc-12."""
    libraries: tuple[str, ...] = ()
    """The packages with the C library that its own build tools need; empty for the host's."""
    tools: tuple[str, ...] = ()
    """The build tools that need it, below the folder of linux-kbuild."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """All that decides what is downloaded and unpacked."""
        return (self.series, *self.suites, *self.binaries, *self.libraries, *self.tools)


LINUX_6_12 = Kernel("6.12", (BACKPORTS, SUITE), ("linux-image-{}",))
"""The kernel of every machine that names no other."""

LINUX_7_3 = Kernel(
    "7.3",
    ("trixie-backports", "trixie"),
    # linux-image-... is empty there.
    ("linux-binary-{}", "linux-modules-{}", "linux-base-{}"),
    # Both became part of the kernel's own library.
    without=("crc32c_generic", "libcrc32c"),
    # Debian built it with gcc-14, which knows -fmin-function-alignment: a matter of speed, not of the interface.
    variables=("CC=gcc-12", "HOSTCC=gcc-12", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT="),
    libraries=("libc6", "libelf1t64"),
    tools=("scripts/mod/modpost.real-lsb-64", "tools/objtool/objtool.real-x86"),
)

KERNELS = {kernel.series: kernel for kernel in (LINUX_6_12, LINUX_7_3)}
