"""The disk with what a node has that is not ours: kubelet, containerd, runc, CNI plugins, and containers' image."""

import shutil
from pathlib import Path
from typing import Final

from components import binaries
from harness import cache
from harness.disk import write_ext4
from harness.host import require_library
from worker import image, runtime

ARCHIVE: Final = "image.tar"
PLUGINS: Final = "cni"
SECCOMP: Final = "libseccomp.so.2"
"""What runc is linked with."""
_PROGRAMS: Final = ("bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "sbin/runc")


def disk() -> Path:
    """The disk with what a node has that is not ours; from the cache or built (minutes without a kubelet)."""
    debian, built = runtime.packages(), binaries.build()
    library = require_library(SECCOMP)
    made_by = cache.digest_files([Path(image.__file__), Path(__file__)])
    key = cache.digest(str(debian), str(built.folder), library.read_bytes(), made_by)

    def build(into: Path, _final: Path) -> None:
        stage = into / "stage"
        (stage / "bin").mkdir(parents=True)
        for program in (built.kubelet, *(debian / "usr" / each for each in _PROGRAMS)):
            shutil.copy(program, stage / "bin")
        shutil.copytree(debian / runtime.PLUGINS, stage / PLUGINS)
        shutil.copy(library, stage / SECCOMP)
        image.write(stage / ARCHIVE, debian / "bin" / "busybox")
        write_ext4(into / "node.ext4", stage)
        shutil.rmtree(stage)

    return cache.entry("node", key, build, keep=2) / "node.ext4"
