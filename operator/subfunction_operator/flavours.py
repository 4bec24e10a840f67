"""The flavours, as a table: a flavour that is in the API and not here is refused by its name."""

from collections.abc import Mapping
from typing import Final

from subfunction.api import Flavour
from subfunction_operator.kind import Kind
from subfunction_operator.native import Ice, Mlx5
from subfunction_operator.virtio import Virtio

KINDS: Final[Mapping[Flavour, Kind]] = {Flavour.MLX5: Mlx5(), Flavour.ICE: Ice(), Flavour.VIRTIO: Virtio()}
"""Those that are cut as sub-functions; `vfio` gives a function away that is there already, or a mediated device."""

BUSES: Final[Mapping[Flavour, str]] = {flavour: kind.bus for flavour, kind in KINDS.items()}
"""The bus a finished one of them sits on."""


def makers(flavour: Flavour) -> frozenset[str]:
    """Name the parents' drivers that can make it; none where any will do."""
    kind = KINDS.get(flavour)
    return kind.drivers if kind else frozenset()
