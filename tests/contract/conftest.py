"""One kernel, three ways to stand behind the ports: simulated in this process, simulated behind a socket, or real.

`SUBFUNCTION_TEST_KERNEL=real` runs the same tests on the running kernel, which must have sub-function capable NICs (a
VM with the real mlx5 driver over mlx5fw, or with sfsim). There iproute2's `devlink` is the judge; of a simulated kernel
it is the kernel's own state.

A test says what it `needs` of its machine, and runs on each machine that has that. Of real machines there is one at a
time; `SUBFUNCTION_TEST_MACHINE` says which, and what it lacks is another machine's to show. mlx5 is the real driver of
Linux 6.12 or 7.3; ice, vf (virtual functions) and mdev (mediated devices) are sfsim. The simulated mlx5 is as in 6.12.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contract.console import Shown
from tests.contract.kernels import KERNELS, Kernel
from tests.contract.node import Node
from tests.contract.ways import WAYS


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*what): runs on each kernel that has it; ports, where nothing is said")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "node" in metafunc.fixturenames:
        fitting = [kernel for kernel in KERNELS if _needs(metafunc.definition) <= kernel.has]
        metafunc.parametrize("node", fitting or [None], indirect=True, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what another real machine will run."""
    elsewhere = [item for item in items if isinstance(item, pytest.Function) and _kernel_of(item, KERNELS[0]) is None]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]


def _needs(definition: pytest.Item) -> frozenset[str]:
    marks = list(definition.iter_markers("needs"))
    return frozenset(what for mark in marks for what in mark.args) or frozenset({"ports"})


def _kernel_of(item: pytest.Function, default: Kernel) -> object:
    return item.callspec.params.get("node", default) if hasattr(item, "callspec") else default


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    kernel: Kernel = request.param
    with WAYS[kernel.way](tmp_path, kernel) as node:
        yield node


@pytest.fixture
def judge(node: Node) -> Callable[[], None]:
    """Compare what our code shows of every port with what the judge does."""

    def compare() -> None:
        ours = {
            Shown(
                name=f"{port.handle}/{port.index}",
                flavour=port.flavour.name.lower().replace("_", "") if port.flavour is not None else "",
                netdev=port.netdev,
                pf=port.pf,
                number=port.number,
                mac=str(port.function.mac) if port.function else None,
                state=("active" if port.function.active else "inactive")
                if port.function and port.is_sub_function
                else None,
                opstate=("attached" if port.function.attached else "detached")
                if port.function and port.is_sub_function
                else None,
            )
            for port in node.devlink.all_ports()
        }
        assert ours == node.console.ports()

    return compare
