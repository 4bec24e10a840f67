"""What a DaemonSet puts around a program: uid 0 with the capabilities it names, a read-only root, a few folders.

Of the node there are only its folders, and only those it writes can be written. By util-linux's `unshare` and `setpriv`
and any `mount`; where the tests are not run by root, in a user namespace. A process that runs already is confined by
`enter` (the VM's warm interpreter).
"""

import ctypes
import dataclasses
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

RUNTIME: Final = tuple(
    dict.fromkeys(
        path
        for each in ("/usr", "/etc/ld.so.cache", sys.base_prefix, sys.prefix, Path(__file__).parents[4])
        if (path := Path(each)).exists()
    )
)
"""What the image has: a system, Python, our code."""

_DEVICES: Final = (Path("/dev/null"), Path("/dev/urandom"))
"""Of those that every container has, the ones that Python and gRPC open."""

NET_ADMIN: Final = "net_admin"
_NUMBERS: Final = {NET_ADMIN: 12}  # linux/capability.h
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")

# linux/sched.h, linux/prctl.h, linux/capability.h
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x40000000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAPABILITY_VERSION_3: Final = 0x20080522


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the node, seen at another place."""

    host: Path
    place: Path
    mode: str = "ro"


@dataclasses.dataclass(frozen=True, slots=True)
class Confinement:
    """Folders (and files) of the node that are mounted, for reading or for writing too, where the node has them.

    `others` are mounted elsewhere; `keeps` are the capabilities that are added after all were dropped. With
    `host_network` it stays in the node's network namespace, and has a /proc and a read-only /sys as a runtime gives.
    """

    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    others: tuple[Mount, ...] = ()
    keeps: tuple[str, ...] = ()
    host_network: bool = False

    def command(self, *argv: str) -> list[str]:
        """Give a command that runs another one confined, as the very same process."""
        unshare = ["unshare", "--mount", "--ipc", "--uts", "--propagation", "private"]
        if not self.host_network:
            unshare.append("--net")
        if os.geteuid() != 0:
            unshare.append("--map-root-user")
        bounds = ",".join(("-all", *(f"+{name}" for name in self.keeps)))
        drop = f"--bounding-set={bounds} --inh-caps=-all --ambient-caps=-all --no-new-privs"
        return [*unshare, "sh", "-euc", "\n".join((*self._mounting(), f"exec setpriv {drop} {shlex.join(argv)}"))]

    def enter(self) -> None:
        """Confine this process, for good; it has no threads yet, and is root."""
        libc = ctypes.CDLL(None, use_errno=True)
        _done(libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | (0 if self.host_network else _CLONE_NEWNET)))
        last = int(_LAST_CAPABILITY.read_text())
        kept = {_NUMBERS[name] for name in self.keeps}
        # pivot_root(2) takes every process of the namespace along, so that another one may call it.
        private = "mount --make-rprivate /"
        subprocess.run(["sh", "-euc", "\n".join((private, *self._mounting()))], check=True)
        os.chdir("/")
        for number in set(range(last + 1)) - kept:
            _done(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))
        mask = sum(1 << number for number in kept)
        low, high = mask & 0xFFFFFFFF, mask >> 32
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        # Effective, permitted, inheritable; of the low and the high numbers. The ambient ones go with the inheritable.
        sets = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
        _done(libc.capset(header, sets))
        _done(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))

    def _mounting(self) -> Iterable[str]:
        same = [(path, path, "ro") for path in (*RUNTIME, *self.reads)]
        same += [(path, path, "rw") for path in (*_DEVICES, *self.writes)]
        own = ["mkdir $root/proc $root/node", "mount --rbind /proc $root/proc"]  # for umount, which looks there
        left = "umount -l /node /proc"
        if self.host_network:
            own = [
                "mkdir $root/proc $root/sys $root/node",
                "mount -t proc proc $root/proc",
                "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs $root/sys",
            ]
            left = "umount -l /node"
        return [
            "root=$(mktemp -d)",
            "mount -t tmpfs -o mode=755 container $root",
            *(f'ln -s "$(readlink /{name})" $root/{name}' for name in ("bin", "lib", "lib64", "sbin") if _link(name)),
            # Those elsewhere first: our code may lie below the /tmp that is among them.
            *(line for mount in self.others for line in _mounted(mount.host, mount.place, mount.mode)),
            *(line for mount in same for line in _mounted(*mount)),
            *own,
            "cd $root",
            "pivot_root . node",
            left,
            "rmdir /node",
            "mount -n -o remount,ro container /",
        ]


def _link(name: str) -> bool:
    return Path("/", name).is_symlink()


def _mounted(host: Path, place: Path, mode: str) -> list[str]:
    inside = f"$root{shlex.quote(str(place))}"
    made = f"mkdir -p {inside}" if host.is_dir() else f'mkdir -p "$(dirname {inside})" && : > {inside}'
    return [made, f"mount --bind {shlex.quote(str(host))} {inside}", f"mount -o remount,bind,{mode} {inside}"]


def _done(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
