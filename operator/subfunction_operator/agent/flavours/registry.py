"""Lists the flavours that are made as sub-functions, each with its implementation. Pure."""

from collections.abc import Mapping
from typing import Final

from subfunction.api.subfunction import Flavour
from subfunction_operator.agent.flavours.auxiliary import Ice, Mlx5
from subfunction_operator.agent.flavours.flavour import FlavourPlugin
from subfunction_operator.agent.flavours.virtio import Virtio

FLAVOURS: Final[Mapping[Flavour, FlavourPlugin]] = {
    Flavour.MLX5: Mlx5(),
    Flavour.ICE: Ice(),
    Flavour.VIRTIO: Virtio(),
}
"""`vfio` is not among them: it takes a virtual function that exists already, or a mediated device."""
