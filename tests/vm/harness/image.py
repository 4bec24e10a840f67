"""What a machine boots from: kernel, initramfs, root image."""

from dataclasses import dataclass
from pathlib import Path

from harness import cache
from harness.initramfs import write_initramfs
from harness.modules import wanted
from harness.packages import Packages
from harness.rootfs import IPROUTE2, python_description, tools_description, write_rootfs

GUEST = Path(__file__).parent / "guest"
KEPT = 6
"""Images in the cache: of two kernels, each with one or another set of Python packages, and of other checkouts."""


@dataclass(frozen=True, slots=True)
class Image:
    """The files QEMU is started with; `key` changes when one of them does."""

    key: str
    kernel: Path
    initramfs: Path
    root: Path


def build_image(packages: Packages) -> Image:
    """The image for this kernel and this Python, from the cache if there."""
    makers = Path(__file__).parent
    key = cache.digest(
        packages.kernel,
        python_description(),
        tools_description(),
        *wanted(packages.series),
        *IPROUTE2,
        cache.digest_files([*GUEST.iterdir(), makers / "initramfs.py", makers / "modules.py", makers / "rootfs.py"]),
    )

    def build(into: Path, _final: Path) -> None:
        write_initramfs(into / "initramfs.img", packages, GUEST / "init")
        write_rootfs(into / "root.ext4", packages, GUEST)

    folder = cache.entry("image", key, build, keep=KEPT)
    root = folder / "root.ext4"
    # Built anew of the same things, its blocks lie elsewhere: a machine saved over the other one would read rubbish.
    return Image(cache.digest(key, str(root.stat().st_mtime_ns)), packages.vmlinuz, folder / "initramfs.img", root)
