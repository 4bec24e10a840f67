"""The real mlx5 drivers, from the sources of the VM's own kernel: unmodified, with sub-functions switched on.

Debian's own mlx5_core has no sub-functions, and its mlx5_ib loads beside no other mlx5_core.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import cache
from harness.errors import BuildFailed
from harness.host import require_tool
from harness.packages import DRIVERS, Packages

CONFIGURATION = {
    "MLX5_SF": "y",
    "MLX5_SF_MANAGER": "y",
    "MLX5_VDPA": "y",
    "MLX5_VDPA_NET": "m",
    # What no test needs: it takes most of the time to compile.
    "MLX5_SW_STEERING": "",
    "MLX5_HW_STEERING": "",
    "MLX5_FPGA": "",
    "MLX5_CORE_IPOIB": "",
}
"""Where the drivers' configuration differs from Debian's."""


@dataclass(frozen=True, slots=True)
class Source:
    """One module, and the folder of the kernel's sources that it is made of."""

    name: str
    folder: str
    includes: tuple[str, ...] = ()
    """Folders that the kernel's own Makefile looks for in a whole source tree."""


BUILT = (
    Source("mlx5_core", "drivers/net/ethernet/mellanox/mlx5/core"),
    Source("mlx5_ib", "drivers/infiniband/hw/mlx5"),
    Source("vringh", "drivers/vhost"),
    Source("mlx5_vdpa", "drivers/vdpa/mlx5", ("drivers/vdpa/mlx5", "drivers/vdpa/mlx5/core")),
)
"""In the order to build and to load them."""

VRINGH = "obj-m := vringh.o\n"
"""The Makefile of vringh alone: Debian has it off, and of its neighbours nothing is needed."""

SYMBOLS = "Module.symvers"
"""The file in which a built module says what it exports."""

FLAGS = ("-g0",)
# BTF would need the kernel's own, which no package has.
VARIABLES = ("CONFIG_DEBUG_INFO_BTF_MODULES=", *(f"CONFIG_{name}={value}" for name, value in CONFIGURATION.items()))


def build_drivers(packages: Packages) -> dict[str, Path]:
    """Build the drivers, or take them from the cache; each module's file by its name, in the order to load them.

    Raises:
        BuildFailed: the compiler refused one.
    """

    strip = require_tool("strip")

    def build(into: Path, _final: Path) -> None:
        tree = into / "tree"
        for folder in DRIVERS:
            shutil.copytree(packages.sources / folder, tree / folder)
        (tree / "drivers/vhost/Makefile").write_text(VRINGH)
        (tree / "configuration.h").write_text(configuration_header())
        for source in BUILT:
            _make(source, tree, packages)
            shutil.copy(tree / source.folder / f"{source.name}.ko", into)
        shutil.rmtree(tree)
        files = [str(into / f"{source.name}.ko") for source in BUILT]
        subprocess.run([strip, "--strip-debug", *files], check=True, timeout=60)

    variables = (*VARIABLES, *packages.series.variables)
    key = cache.digest(packages.kernel, configuration_header(), VRINGH, repr(BUILT), *FLAGS, *variables)
    folder = cache.entry("mlx5", key, build, keep=4)
    return {source.name: folder / f"{source.name}.ko" for source in BUILT}


def configuration_header() -> str:
    """A header that says of `CONFIGURATION` to the compiler what make is told of it on its command line."""
    lines = []
    for name, value in CONFIGURATION.items():
        lines += [f"#undef CONFIG_{name}", f"#undef CONFIG_{name}_MODULE"]
        if value:
            lines.append(f"#define CONFIG_{name}{'_MODULE' if value == 'm' else ''} 1")
    return "\n".join(lines) + "\n"


def _make(source: Source, tree: Path, packages: Packages) -> None:
    flags = [*FLAGS, "-include", str(tree / "configuration.h"), *(f"-I{tree / folder}" for folder in source.includes)]
    built = (tree / each.folder / SYMBOLS for each in BUILT)
    command = [
        require_tool("make"), f"-j{os.cpu_count() or 1}", "-C", str(packages.headers), f"M={tree / source.folder}",
        *VARIABLES, *packages.series.variables,
        f"KBUILD_EXTRA_SYMBOLS={' '.join(str(path) for path in built if path.exists())}",
        f"KCFLAGS={' '.join(flags)}", "modules",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    if done.returncode != 0:
        raise BuildFailed(f"{source.name} does not build:\n{done.stderr[-4000:]}")
