"""What a DaemonSet puts around the device plugin: uid 0 without a capability, a network of its own, a read-only root.

Of the node there are only its folders, and only those it writes can be written. By util-linux's `unshare`, `mount` and
`setpriv`; where the tests are not run by root, in a user namespace.
"""

import dataclasses
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

RUNTIME: Final = tuple(
    dict.fromkeys(
        Path(each) for each in ("/usr", "/etc/ld.so.cache", sys.base_prefix, sys.prefix, Path(__file__).parents[2])
    )
)
"""What the image has: a system, Python, our code."""


_DEVICES: Final = (Path("/dev/null"), Path("/dev/urandom"))
"""Of those that every container has, the ones that Python and gRPC open."""


@dataclasses.dataclass(frozen=True, slots=True)
class Confinement:
    """Folders (and files) of the node that are mounted, for reading or for writing too."""

    reads: tuple[Path, ...]
    writes: tuple[Path, ...]

    def command(self, *argv: str) -> list[str]:
        """Give a command that runs another one confined, as the very same process."""
        unshare = ["unshare", "--mount", "--net", "--ipc", "--uts", "--propagation", "private"]
        if os.geteuid() != 0:
            unshare.append("--map-root-user")
        return [*unshare, "sh", "-euc", "\n".join(self._script(argv))]

    def _script(self, argv: Iterable[str]) -> list[str]:
        capabilities = "--bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs"
        return [
            "root=$(mktemp -d)",
            "mount -t tmpfs -o mode=755 container $root",
            *(f'ln -s "$(readlink /{name})" $root/{name}' for name in ("bin", "lib", "lib64", "sbin") if _link(name)),
            *(line for path in (*RUNTIME, *self.reads) for line in _mounted(path, "ro")),
            *(line for path in (*_DEVICES, *self.writes) for line in _mounted(path, "rw")),
            "mkdir $root/proc $root/node",
            "mount --rbind /proc $root/proc",  # for umount, which looks there
            "cd $root",
            "pivot_root . node",
            "umount -l /node /proc",
            "rmdir /node",
            "mount -n -o remount,ro container /",
            f"exec setpriv {capabilities} {shlex.join(argv)}",
        ]


def _link(name: str) -> bool:
    return Path("/", name).is_symlink()


def _mounted(path: Path, mode: str) -> list[str]:
    place = f"$root{shlex.quote(str(path))}"
    made = f"mkdir -p {place}" if path.is_dir() else f'mkdir -p "$(dirname {place})" && : > {place}'
    return [made, f"mount --bind {shlex.quote(str(path))} {place}", f"mount -o remount,bind,{mode} {place}"]
