"""The root image: this Python with its third-party packages, iproute2, bash, busybox. No line of the project."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

from harness.disk import write_ext4
from harness.errors import BuildFailed
from harness.host import find_tool, require_tool
from harness.modules import ModuleSet, wanted, write_modules
from harness.packages import Packages

SOURCE_ROOTS = ("core", "operator", "deviceplugin", "simulator", "tests/vm")
"""Where imports of the project are found, below /src in the guest."""

IPROUTE2 = ("ip", "devlink", "rdma", "vdpa", "bridge", "tc", "ss")
OURS = ("bash", "dash", "setpriv", "unshare", "nsenter")
FOLDERS = (
    "dev",
    "etc",
    "proc",
    "root",
    "run",
    "src",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/sbin",
    "var",
)
NOT_AT_RUN_TIME = re.compile(
    r"(?i)^(pip|uv|ruff|setuptools|_distutils_hack|pkg_resources|mypy|mypyc|grpc_tools|grpcio_tools|deptry|grimp|typos|"
    r"importlinter|import_linter|yamllint|librt|ast_serialize|mypy_protobuf|types_\w+|\w+-stubs)([-.].*)?$"
    r"|__mypyc\.|\.pth$|^__pycache__$|^subfunction(_\w+)?$"
)
"""Of site-packages: what checks or builds, and is never run in the guest; and what an editable install left of ours."""
NOT_OF_STDLIB = shutil.ignore_patterns(
    "test", "tests", "site-packages", "dist-packages", "config-*", "idlelib", "lib2to3", "tkinter", "ensurepip",
    "turtledemo", "pydoc_data", "*.opt-*.pyc", "*.a",
)  # fmt: skip


def python_description() -> str:
    """What of this Python goes into the image, as one text: the image's name in the cache is made of it."""
    names = sorted(f"{part.name}-{part.version}" for part in metadata.distributions())
    return "\n".join((sys.version, sys.base_prefix, *names))


def write_rootfs(image: Path, packages: Packages, guest: Path) -> None:
    """Write the ext4 image, read-only in the guest.

    Raises:
        BuildFailed: a program or library is not to be found, or mke2fs failed.
    """
    stage = image.with_suffix(".stage")
    _lay_out(stage, guest)
    _add_python(stage)
    for name in IPROUTE2:
        shutil.copy(packages.binary(name), stage / "usr" / "bin" / name)
    for name in OURS:
        shutil.copy(require_tool(name), stage / "usr" / "bin" / name)
    _add_libraries(stage, packages)
    _add_busybox(stage, packages.binary("busybox"))
    write_modules(stage, ModuleSet(packages.modules), wanted(packages.series))
    write_ext4(image, stage)
    shutil.rmtree(stage)


def _lay_out(stage: Path, guest: Path) -> None:
    for folder in FOLDERS:
        (stage / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (stage / link).symlink_to(f"usr/{link}")
    (stage / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (stage / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (stage / "etc" / "hosts").write_text("127.0.0.1 localhost vm\n10.0.2.2 host\n")
    (stage / "etc" / "nsswitch.conf").write_text("hosts: files\n")
    shutil.copy(guest / "rootinit", stage / "usr" / "sbin" / "init")
    shutil.copy(guest / "zygote.py", stage / "zygote.py")


def _add_python(stage: Path) -> None:
    executable = Path(sys.executable).resolve()
    stdlib = Path(sysconfig.get_path("stdlib"))
    _copy(executable, stage)
    shutil.copytree(stdlib, _inside(stage, stdlib), symlinks=True, ignore=NOT_OF_STDLIB, dirs_exist_ok=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    venv = stage / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {executable.parent}\ninclude-system-site-packages = false\n")
    for name in ("python", "python3", version):
        (venv / "bin" / name).symlink_to(executable)
    site = venv / "lib" / version / "site-packages"
    shutil.copytree(sysconfig.get_path("purelib"), site, symlinks=True, ignore=_unwanted)
    (site / "subfunction-sources.pth").write_text("".join(f"/src/{root}\n" for root in SOURCE_ROOTS))
    # Without it, each start of Python in the guest would compile anew: the image is read-only.
    folders = [str(_inside(stage, stdlib)), str(site)]
    command = [sys.executable, "-m", "compileall", "-q", f"-j{os.cpu_count() or 1}", "-s", str(stage), *folders]
    subprocess.run(command, check=False, capture_output=True, timeout=300)


def _unwanted(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if NOT_AT_RUN_TIME.search(name)]


def _add_libraries(stage: Path, packages: Packages) -> None:
    """Everything the programs are linked with: the packages' own libraries first, then the host's."""
    programs = [path for path in (stage / "usr" / "bin").iterdir() if path.is_file()]
    programs += [path for path in stage.rglob("*.so*") if path.is_file()]
    programs.append(_inside(stage, Path(sys.executable).resolve()))
    theirs = [packages.programs / folder for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, theirs)), "LC_ALL": "C", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [require_tool("ldd"), *map(str, programs)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    lost = set(re.findall(r"^\s+(\S+) => not found", done.stdout, re.MULTILINE))
    if lost:
        raise BuildFailed(f"libraries not found for the VM's image: {' '.join(sorted(lost))}")
    for found in sorted(set(re.findall(r"(/\S+) \(0x", done.stdout))):
        library = Path(found)
        if library.is_relative_to(stage):
            continue
        if library.is_relative_to(packages.programs):
            library = Path("/") / library.relative_to(packages.programs)
            _copy(library, stage, source=Path(found))
        else:
            _copy(library, stage)


def _add_busybox(stage: Path, busybox: Path) -> None:
    shutil.copy(busybox, stage / "usr" / "bin" / "busybox")
    listed = subprocess.run([str(busybox), "--list"], check=True, capture_output=True, text=True, timeout=30)
    # Not busybox's shell for commands: it prefers its own applets (`ip`!) to the programs in PATH.
    (stage / "usr" / "bin" / "sh").symlink_to("dash")
    for applet in listed.stdout.split():
        link = stage / "usr" / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")


def _copy(path: Path, stage: Path, source: Path | None = None) -> None:
    target = _inside(stage, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source or path, target)


def _inside(stage: Path, path: Path) -> Path:
    return stage / path.relative_to("/")


def tools_description() -> str:
    """What else of the host goes into the image."""
    return "\n".join(str(find_tool(name)) for name in OURS)
