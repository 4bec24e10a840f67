"""Debian's packages: a kernel with headers and sources, busybox, iproute2. Downloaded and unpacked, never installed."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import cache
from harness.errors import BuildFailed
from harness.host import require_tool

DRIVERS = ("drivers/net/ethernet/mellanox", "drivers/infiniband", "drivers/vdpa", "drivers/vhost")
"""The folders of the kernel's sources that are kept: the mlx5 drivers, and what they include."""
SUITE = "bookworm"
BACKPORTS = "bookworm-backports"
SOURCES = Path("/etc/apt")
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


@dataclass(frozen=True, slots=True)
class Packages:
    """An unpacked set: `root` looks like a file system's root."""

    kernel: str
    """The kernel's release with its flavour, as `uname -r` says it."""
    root: Path

    @property
    def vmlinuz(self) -> Path:
        """The kernel to boot."""
        return self.root / "boot" / f"vmlinuz-{self.kernel}"

    @property
    def modules(self) -> Path:
        """The kernel's modules."""
        return self.root / "lib" / "modules" / self.kernel

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
            path = self.root / folder / name
            if path.is_file():
                return path
        raise BuildFailed(f"no {name} in the unpacked packages below {self.root}")


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the system gets Debian from, and by which key it trusts it."""

    uri: str
    signed_by: str


def packages() -> Packages:
    """The set, from the cache or from the system's own mirror.

    Once there, it is kept: a newer kernel in backports is taken by removing the cache (`python -m harness clean`).
    """
    root = cache.entry("packages", cache.digest("3", SUITE, BACKPORTS, *DRIVERS, *PLAIN), _download, keep=2)
    return Packages(kernel=json.loads((root / "manifest.json").read_text())["kernel"], root=root)


def _download(into: Path, final: Path) -> None:
    apt = Apt.at(into / ".apt", mirror())
    apt.update()
    kernel = apt.stands_for("linux-image-amd64", r"linux-image-\S+-amd64").removeprefix("linux-image-")
    release = kernel.removesuffix("-amd64")
    wanted = (f"linux-image-{kernel}", f"linux-headers-{kernel}", f"linux-headers-{release}-common")
    series = ".".join(release.split(".")[:2])
    # The very version of the kernel: later, the archive may have a newer one, and modules of it would not load.
    source = f"linux-source-{series}={apt.version(wanted[0])}"
    apt.download(*wanted, source, f"linux-kbuild-{release}", f"iproute2/{BACKPORTS}", *PLAIN)
    (compressed,) = apt.archives.glob("linux-source-*.deb")
    _unpack_drivers(compressed, into / "usr" / "src" / "linux-source")
    compressed.unlink()
    dpkg = require_tool("dpkg-deb")
    for archive in sorted(apt.archives.glob("*.deb")):
        _run([dpkg, "-x", str(archive), str(into)], cwd=into)
    apt.remove()
    # Debian's headers name each other by absolute paths.
    makefile = into / "usr" / "src" / f"linux-headers-{kernel}" / "Makefile"
    makefile.write_text(f"include {final}/usr/src/linux-headers-{release}-common/Makefile\n")
    (into / "manifest.json").write_text(json.dumps({"kernel": kernel}) + "\n")


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
    _run([require_tool("bash"), "-c", pipe, "unpack", str(package), name, *folders], cwd=into)


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
        for archive in sorted(apt.archives.glob("*.deb")):
            _run([require_tool("dpkg-deb"), "-x", str(archive), str(into)], cwd=into)
        apt.remove()

    return cache.entry(kind, cache.digest("1", SUITE, *sorted(names)), fill, keep=1)


def mirror(etc: Path = SOURCES) -> Mirror:
    """The system's own mirror for the release, from either of apt's formats.

    Raises:
        BuildFailed: apt knows no source for the release.
    """
    for file in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"^([A-Za-z-]+):\s*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and SUITE in fields.get("Suites", "").split():
                return Mirror(fields["URIs"].split()[0], fields.get("Signed-By", "").strip())
    for file in (etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))):
        for line in file.read_text().splitlines() if file.is_file() else ():
            match = re.match(rf"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+{SUITE}\s", line)
            if match:
                signed = re.search(r"signed-by=(\S+)", match[1] or "")
                return Mirror(match[2], signed[1] if signed else "")
    raise BuildFailed(f"no Debian source for {SUITE} below {etc}: the kernel of the VM comes from there")


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with lists and archives of its own: the system's are neither read nor changed."""

    folder: Path
    archives: Path
    options: tuple[str, ...]

    @classmethod
    def at(cls, folder: Path, source: Mirror) -> "Apt":
        """An apt that keeps everything below `folder`."""
        for name in ("lists/partial", "cache/archives/partial", "parts", "archives"):
            (folder / name).mkdir(parents=True)
        signed = f"Signed-By: {source.signed_by}\n" if source.signed_by else ""
        (folder / "parts" / "debian.sources").write_text(
            f"Types: deb\nURIs: {source.uri}\nSuites: {BACKPORTS} {SUITE}\nComponents: main\n{signed}"
        )
        settings = {
            "Dir::Etc::SourceList": "/dev/null",
            "Dir::Etc::SourceParts": str(folder / "parts"),
            "Dir::State::Lists": str(folder / "lists"),
            "Dir::Cache": str(folder / "cache"),
            "Acquire::Languages": "none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Retries": "3",
            "APT::Sandbox::User": "root",
        }
        options = tuple(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))
        return cls(folder, folder / "archives", options)

    def update(self) -> None:
        """Fetch the lists."""
        _run([require_tool("apt-get"), *self.options, "-qq", "update"], cwd=self.folder)

    def stands_for(self, meta: str, name: str) -> str:
        """The package whose name is like `name` (a regular expression) that a meta package of the backports needs.

        Raises:
            BuildFailed: the meta package names none.
        """
        shown = _run([require_tool("apt-cache"), *self.options, "show", f"{meta}/{BACKPORTS}"], self.folder)
        match = re.search(rf"^Depends: (?:.*, )?({name})(?=[ ,]|$)", shown, re.MULTILINE)
        if match is None:
            raise BuildFailed(f"{meta}/{BACKPORTS} names no {name}")
        return match[1]

    def version(self, name: str) -> str:
        """The version of a package of this name, the newest where there are several.

        Raises:
            BuildFailed: there is none.
        """
        shown = _run([require_tool("apt-cache"), *self.options, "show", name], self.folder)
        match = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
        if match is None:
            raise BuildFailed(f"no version of {name} is known")
        return match[1]

    def download(self, *names: str) -> None:
        """Fetch these packages into `archives`."""
        _run([require_tool("apt-get"), *self.options, "-qq", "download", *names], cwd=self.archives)

    def remove(self) -> None:
        """Remove lists and archives."""
        _run(["rm", "-rf", str(self.folder)], cwd=self.folder.parent)


def _run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:1] + command[-3:])} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
