"""What the host must have: QEMU, a compiler, mke2fs. Only `install` changes anything."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.errors import HostLacks

TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "gcc-12": "gcc-12",
    "make": "make",
    "strip": "binutils",
    "mke2fs": "e2fsprogs",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "bash": "bash",
    "dash": "dash",
    "ldd": "libc-bin",
    "tar": "tar",
    "xz": "xz-utils",
}
"""Tool -> Debian package. gcc-12 compiled Debian 12's kernel, so it compiles a module for it."""

SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def find_tool(name: str) -> str | None:
    """Where a tool is, also in the folders a user's PATH leaves out."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN)))


def require_tool(name: str) -> str:
    """Where a tool is.

    Raises:
        HostLacks: it is not there.
    """
    found = find_tool(name)
    if found is None:
        raise HostLacks(f"{name} is missing: apt-get install {TOOLS.get(name, name)}")
    return found


def require_library(name: str) -> Path:
    """Where a shared library is, by the linker's own cache.

    Raises:
        HostLacks: it is not there.
    """
    listed = subprocess.run([require_tool("ldconfig"), "-p"], capture_output=True, text=True, timeout=30, check=True)
    found = re.search(rf"^\s+{re.escape(name)} .* => (\S+)$", listed.stdout, re.MULTILINE)
    if found is None:
        raise HostLacks(f"{name} is missing on this host")
    return Path(found[1])


def missing(tools: Mapping[str, str] = TOOLS) -> tuple[str, ...]:
    """The Debian packages whose tools this host has not got."""
    return tuple(package for tool, package in tools.items() if find_tool(tool) is None)


def install(tools: Mapping[str, str] = TOOLS) -> None:
    """Install what is missing, where we may.

    Raises:
        HostLacks: we are not root or this is no Debian; or apt-get could not.
    """
    packages = missing(tools)
    if not packages:
        return
    line = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or find_tool("apt-get") is None:
        raise HostLacks(f"these tests need, as root: {line}")
    apt = require_tool("apt-get")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ([apt, "-qq", "update"], [apt, "-qq", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise HostLacks(f"{line} failed: {done.stderr.strip()[-500:]}")
    if missing(tools):
        raise HostLacks(f"still missing after {line}: {' '.join(missing(tools))}")
