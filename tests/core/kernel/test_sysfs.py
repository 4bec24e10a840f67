"""Writing to sysfs: what the kernel's refusals mean, and what to do about them."""

import errno
import os
import socket
from pathlib import Path

import pytest

from subfunction.errors import Gone, KernelError, NotPermitted
from subfunction.kernel.sysfs import SysfsTree, sysfs_error


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EROFS, "`{name: sys, mountPath: /host/sys}` without `readOnly`"),
        (errno.EACCES, "`runAsUser: 0`"),
        (errno.EPERM, "`runAsUser: 0`"),
    ],
)
def test_a_file_system_that_may_not_be_written_says_which_line_of_the_manifest_lets_it(number: int, line: str) -> None:
    error = sysfs_error("write '0x1' to /sys/x", OSError(number, os.strerror(number)))
    assert type(error) is NotPermitted
    assert line in str(error)
    assert error.errno == number


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.ENXIO])
def test_a_device_that_vanishes_is_gone(number: int) -> None:
    assert type(sysfs_error("write '0x1' to /sys/x", OSError(number, os.strerror(number)))) is Gone


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBUSY, errno.EIO])
def test_any_other_refusal_keeps_the_kernels_words(number: int) -> None:
    error = sysfs_error("write '0x1' to /sys/x", OSError(number, os.strerror(number)))
    assert type(error) is KernelError
    assert str(error) == f"write '0x1' to /sys/x: {os.strerror(number)}"


def test_what_the_kernel_refuses_is_raised(tmp_path: Path) -> None:
    tree = SysfsTree(tmp_path)
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(KernelError, match=r"write 'x' to .*/full: No space left"):
        tree.write("full", "x\n")
    with pytest.raises(Gone, match="No such file"):
        tree.write("none", "x")
    with socket.socket(socket.AF_UNIX) as nothing_to_open:
        nothing_to_open.bind(str(tmp_path / "device"))
        with pytest.raises(Gone, match="No such device or address"):
            tree.write("device", "x")
    assert not (tmp_path / "none").exists()
