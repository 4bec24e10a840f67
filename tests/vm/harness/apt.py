"""apt with lists of its own: packages are downloaded from the system's own mirror, never installed."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BuildFailed
from harness.host import require_tool

SUITE = "bookworm"
BACKPORTS = "bookworm-backports"
SOURCES = Path("/etc/apt")


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the system gets Debian from, and by which key it trusts it."""

    uri: str
    signed_by: str


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
    def at(cls, folder: Path, source: Mirror, suites: tuple[str, ...] = (BACKPORTS, SUITE)) -> "Apt":
        """An apt that keeps everything below `folder` and knows these suites."""
        for name in ("lists/partial", "cache/archives/partial", "parts", "archives"):
            (folder / name).mkdir(parents=True)
        signed = f"Signed-By: {source.signed_by}\n" if source.signed_by else ""
        (folder / "parts" / "debian.sources").write_text(
            f"Types: deb\nURIs: {source.uri}\nSuites: {' '.join(suites)}\nComponents: main\n{signed}"
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
        run([require_tool("apt-get"), *self.options, "-qq", "update"], cwd=self.folder)

    def stands_for(self, meta: str, name: str) -> str:
        """The package whose name is like `name` (a regular expression) that a meta package of the backports needs.

        Raises:
            BuildFailed: the meta package names none.
        """
        shown = run([require_tool("apt-cache"), *self.options, "show", f"{meta}/{BACKPORTS}"], self.folder)
        match = re.search(rf"^Depends: (?:.*, )?({name})(?=[ ,]|$)", shown, re.MULTILINE)
        if match is None:
            raise BuildFailed(f"{meta}/{BACKPORTS} names no {name}")
        return match[1]

    def newest(self, prefix: str, release: str) -> str:
        """The newest kernel for which there is a package `prefix` and `release` (a regular expression), by its release.

        Raises:
            BuildFailed: the suites have none, or none any more.
        """
        names = run([require_tool("apt-cache"), *self.options, "pkgnames", prefix], self.folder).split()
        found = [match[1] for match in (re.fullmatch(f"{prefix}({release})", name) for name in names) if match]
        if not found:
            raise BuildFailed(f"no package is named {prefix}{release}: the suites have gone on to a later kernel")
        return max(found, key=lambda each: [int(number) for number in re.findall(r"\d+", each)])

    def version(self, name: str) -> str:
        """The version of a package of this name, the newest where there are several.

        Raises:
            BuildFailed: there is none.
        """
        shown = run([require_tool("apt-cache"), *self.options, "show", name], self.folder)
        match = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
        if match is None:
            raise BuildFailed(f"no version of {name} is known")
        return match[1]

    def download(self, *names: str) -> None:
        """Fetch these packages into `archives`."""
        run([require_tool("apt-get"), *self.options, "-qq", "download", *names], cwd=self.archives)

    def remove(self) -> None:
        """Remove lists and archives."""
        run(["rm", "-rf", str(self.folder)], cwd=self.folder.parent)


def run(command: list[str], cwd: Path) -> str:
    """What a command says.

    Raises:
        BuildFailed: it failed; its own words are in the message.
    """
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{' '.join(command[:1] + command[-3:])} failed: {done.stderr.strip()[-800:]}")
    return done.stdout
