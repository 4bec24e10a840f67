"""The resource names of this node: what the plugin registers at once after a reboot, before any record exists."""

from pathlib import Path

import msgspec

from subfunction.folder import Folder

SCHEMA = 1
STATE = Path("/var/lib/subfunction")


class Resources(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The names (`subfunction.dev/mlx5`) that this node's SubFunctions ask to be offered under."""

    schema: int = SCHEMA
    uid: str = "resources"
    names: tuple[str, ...] = ()


def resources(path: Path = STATE) -> Folder[Resources]:
    """Open the folder that holds `resources.json`."""
    return Folder(path, Resources, SCHEMA)
