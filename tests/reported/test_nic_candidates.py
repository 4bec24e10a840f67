"""Which cards are named to a person whose selector fits none: those that it could have chosen."""

from pathlib import Path

import pytest

from rig.survey import search
from rig.world import World
from subfunction.errors import ParentNotFound
from subfunction.kernel.uapi import EswitchMode
from subfunction_simulator.kernel import Parent, Topology


def test_no_virtual_function_is_among_the_candidates_of_a_selector(root: Path) -> None:
    card = Parent(bdf="0000:03:00.0", netdev="enp3s0np0", mode=EswitchMode.LEGACY, virtual_functions=2)
    world = World(root, Topology(parents=(card,)))
    wanted = world.apply(parent={"selector": {"vendor": "8086"}})
    with pytest.raises(ParentNotFound, match=r"are: pci/0000:03:00\.0\.") as refused:
        search(wanted, world.devlink, world.sysfs)
    assert "devlink dev show" in refused.value.hint
