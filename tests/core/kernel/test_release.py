"""What a release of the kernel says of its devlink."""

import pytest

from subfunction.kernel.release import filters_lists


@pytest.mark.parametrize(
    ("release", "filters"),
    [
        ("6.4.0-4-amd64", False),
        ("6.1.0-37-amd64", False),
        ("5.14.0-503.el9.x86_64", False),
        ("6.5.0", True),
        ("6.12.95+deb12-amd64", True),
        ("7.3.4+deb13-amd64", True),
        ("unknown", True),
    ],
)
def test_a_kernel_before_6_5_is_told_by_its_release(release: str, *, filters: bool) -> None:
    assert filters_lists(release) is filters
