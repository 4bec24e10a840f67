"""Debian's packages: kernels with headers and sources, busybox, iproute2. Downloaded and unpacked, never installed."""

import json
from dataclasses import dataclass
from pathlib import Path

from harness import cache
from harness.apt import BACKPORTS, SUITE, Apt, mirror, run
from harness.errors import BuildFailed
from harness.host import require_tool
from harness.kernels import LINUX_6_12, Kernel

DRIVERS = ("drivers/net/ethernet/mellanox", "drivers/infiniband", "drivers/vdpa", "drivers/vhost")
"""The folders of the kernel's sources that are kept: the mlx5 drivers, and what they include."""
PLAIN = (
    "busybox-static",
    "libmnl0",
    "libbsd0",
    "libmd0",
    "libelf1",
    "libbpf1",
    "libcap2",
    "libselinux1",
    "libpcre2-8-0",
)
"""From the release itself: a shell for the initramfs, and what `ip`, `devlink` and `rdma` are linked with."""
LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class Packages:
    """Two unpacked sets, each of which looks like a file system's root: a kernel's, and the programs'."""

    kernel: str
    """The kernel's release with its flavour, as `uname -r` says it."""
    root: Path
    """Where the kernel's set is."""
    programs: Path
    """Where the programs are; every kernel has the same."""
    series: Kernel = LINUX_6_12

    @property
    def vmlinuz(self) -> Path:
        """The kernel to boot."""
        beside = self.modules / "vmlinuz"
        return beside if beside.exists() else self.root / "boot" / f"vmlinuz-{self.kernel}"

    @property
    def modules(self) -> Path:
        """The kernel's modules."""
        merged = self.root / "usr" / "lib" / "modules" / self.kernel
        return merged if merged.exists() else self.root / "lib" / "modules" / self.kernel

    @property
    def headers(self) -> Path:
        """What a module is built against (`make -C`)."""
        return self.root / "usr" / "src" / f"linux-headers-{self.kernel}"

    @property
    def sources(self) -> Path:
        """The kernel's own sources, of `DRIVERS` only."""
        return self.root / "usr" / "src" / "linux-source"

    def binary(self, name: str) -> Path:
        """A program out of the set.

        Raises:
            BuildFailed: no package of the set contains it.
        """
        for folder in ("usr/bin", "usr/sbin", "bin", "sbin"):
            path = self.programs / folder / name
            if path.is_file():
                return path
        raise BuildFailed(f"no {name} in the unpacked packages below {self.programs}")


def packages(kernel: Kernel = LINUX_6_12) -> Packages:
    """The sets, from the cache or from the system's own mirror.

    Once there, they are kept: a newer kernel of the series is taken by removing the cache (`python -m harness clean`).
    """
    programs = cache.entry("programs", cache.digest("1", SUITE, BACKPORTS, *PLAIN), _download_programs, keep=2)
    key = cache.digest("1", *kernel.inputs, *DRIVERS)
    root = cache.entry("kernel", key, lambda into, final: _download(kernel, into, final), keep=4)
    return Packages(json.loads((root / "manifest.json").read_text())["kernel"], root, programs, kernel)


def _download_programs(into: Path, _final: Path) -> None:
    apt = Apt.at(into / ".apt", mirror())
    apt.update()
    apt.download(f"iproute2/{BACKPORTS}", *PLAIN)
    _unpack(apt, into)


def _download(series: Kernel, into: Path, final: Path) -> None:
    apt = Apt.at(into / ".apt", mirror(), series.suites)
    apt.update()
    kernel = apt.newest("linux-headers-", rf"{series.series}\.[^-]+-amd64")
    release = kernel.removesuffix("-amd64")
    headers = f"linux-headers-{kernel}"
    wanted = (*(name.format(kernel) for name in series.binaries), headers, f"linux-headers-{release}-common")
    # The very version of the kernel: later, the archive may have a newer one, and modules of it would not load.
    source = f"linux-source-{series.series}={apt.version(headers)}"
    apt.download(*wanted, source, f"linux-kbuild-{release}", *series.libraries)
    (compressed,) = apt.archives.glob("linux-source-*.deb")
    _unpack_drivers(compressed, into / "usr" / "src" / "linux-source")
    compressed.unlink()
    _unpack(apt, into)
    # Debian's headers name each other by absolute paths.
    makefile = into / "usr" / "src" / headers / "Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", f"{final}/usr/src/"))
    for tool in series.tools:
        _give_library(into / "usr" / "lib" / f"linux-kbuild-{release}" / tool, final / LIBRARIES)
    (into / "manifest.json").write_text(json.dumps({"kernel": kernel}) + "\n")


def _give_library(tool: Path, libraries: Path) -> None:
    """Let a tool run with the C library of its own release, which is newer than the host's."""
    program = tool.rename(tool.with_name(f"{tool.name}.elf"))
    linker = libraries / "ld-linux-x86-64.so.2"
    tool.write_text(f'#!/bin/sh\nexec {linker} --library-path {libraries}:/{LIBRARIES} "$0.elf" "$@"\n')
    tool.chmod(program.stat().st_mode)


def _unpack_drivers(package: Path, into: Path) -> None:
    """Unpack `DRIVERS` from a package linux-source, which has one archive in it; the rest of it stays packed."""
    into.mkdir(parents=True)
    name = package.name.partition("_")[0]
    pipe = (
        'set -o pipefail; dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" | xz -dcT0 | '
        'tar -x --strip-components=1 --wildcards "${@:3}"'
    )
    for tool in ("dpkg-deb", "tar", "xz"):
        require_tool(tool)
    folders = (f"{name}/{folder}/*" for folder in DRIVERS)
    run([require_tool("bash"), "-c", pipe, "unpack", str(package), name, *folders], cwd=into)


def unpacked(kind: str, *names: str) -> Path:
    """Packages of the release itself, unpacked into one root, from the cache or from the system's own mirror.

    Once there, they are kept: newer ones are taken by removing the cache's folder `kind`.

    Raises:
        HostLacks: there is no apt-get or no dpkg-deb.
        BuildFailed: one could not be had.
    """

    def fill(into: Path, _: Path) -> None:
        apt = Apt.at(into / ".apt", mirror())
        apt.update()
        apt.download(*(f"{name}/{SUITE}" for name in names))
        _unpack(apt, into)

    return cache.entry(kind, cache.digest("1", SUITE, *sorted(names)), fill, keep=1)


def _unpack(apt: Apt, into: Path) -> None:
    """Unpack what apt has downloaded, and remove it."""
    for archive in sorted(apt.archives.glob("*.deb")):
        run([require_tool("dpkg-deb"), "-x", str(archive), str(into)], cwd=into)
    apt.remove()
