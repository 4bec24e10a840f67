"""The kernels that the contract runs on: how two drivers differ, and what each kernel has."""

import dataclasses
import os

from subfunction.kernel.port import FunctionSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Personality:
    """What differs between two drivers' sub-functions."""

    driver: str
    function_driver: str
    tells_number: bool
    """Whether the auxiliary device has an attribute `sfnum`."""
    caps: tuple[bool | None, int | None]
    """RoCE and event queues of a new function."""
    settings: FunctionSettings
    """What can be set beside the MAC."""
    address_unset: bool
    """Whether a function has no address in a slot where none was ever set, or one at random."""
    address_settable: bool
    """Whether a function's netdev takes another address."""
    function_mtu: int
    """An MTU that a function's netdev takes; on ice the highest."""
    one_unattached: bool
    """Whether a parent makes no port beside one whose driver never held the function."""
    taken: str
    legacy: str
    wrong_pf: str
    controller: str
    not_unicast: str


MLX5 = Personality(
    driver="mlx5_core",
    function_driver="mlx5_core.sf",
    tells_number=True,
    caps=(True, 60),
    settings=FunctionSettings(roce=False, max_io_eqs=4),
    address_unset=True,
    address_settable=True,
    function_mtu=9000,
    one_unattached=False,
    taken="SF already exist",
    legacy="SF ports are only supported in eswitch switchdev mode",
    wrong_pf="Invalid pfnum supplied",
    controller="External controller is unsupported",
    not_unicast="Non-unicast hardware address unsupported",
)
ICE = Personality(
    driver="ice",
    function_driver="ice.sf",
    tells_number=False,
    caps=(None, None),
    settings=FunctionSettings(),
    address_unset=False,
    address_settable=False,
    function_mtu=1500,
    one_unattached=True,
    taken="Subfunction with given sfnum already exists",
    legacy="SF ports are only supported in eswitch switchdev mode",
    wrong_pf="Incorrect pfnum supplied",
    controller="Setting controller is not supported",
    not_unicast="Non-unicast hardware address unsupported",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to run tests on, and what it has."""

    way: str
    personality: Personality
    has: frozenset[str]

    def __str__(self) -> str:
        return f"{self.way}-{self.personality.driver}"


_MLX5_HAS = frozenset({"ports", "mlx5", "vdpa"})
_AS_6_12 = frozenset({"as-6.12"})
_AS_7_3 = frozenset({"as-7.3"})
_ICE_HAS = frozenset({"ports", "ice"})
_VF_HAS = frozenset({"virtual-functions"})
_MDEV_HAS = frozenset({"mediated"})
# Parents on two NUMA nodes.
_TWO_NODES = frozenset({"two-nodes"})
# Behind a socket sysfs is a folder of files: what is written there is taken, and can neither be refused nor wait.
_ANSWERS = frozenset({"answers-writes"})
_REAL = {
    "mlx5 6.12": Kernel("real", MLX5, _MLX5_HAS | _TWO_NODES | _ANSWERS | _AS_6_12),
    "mlx5 7.3": Kernel("real", MLX5, _MLX5_HAS | _TWO_NODES | _ANSWERS | _AS_7_3),
    "ice": Kernel("real", ICE, _ICE_HAS | _TWO_NODES | _ANSWERS),
    "vf": Kernel("real", MLX5, _VF_HAS | _ANSWERS),
    "mdev": Kernel("real", MLX5, _MDEV_HAS | _ANSWERS),
}
KERNELS = (
    (_REAL[os.environ.get("SUBFUNCTION_TEST_MACHINE", "mlx5 6.12")],)
    if os.environ.get("SUBFUNCTION_TEST_KERNEL") == "real"
    else (
        Kernel("in-process", MLX5, _MLX5_HAS | _VF_HAS | _MDEV_HAS | _TWO_NODES | _ANSWERS | _AS_6_12),
        Kernel("served", MLX5, _MLX5_HAS | _VF_HAS | _MDEV_HAS | _TWO_NODES | _AS_6_12),
        Kernel("in-process", ICE, _ICE_HAS | _TWO_NODES),
        Kernel("served", ICE, _ICE_HAS | _TWO_NODES),
    )
)
