"""The resource names of this node, which the plugin registers after a reboot before any record exists."""

from pathlib import Path

import msgspec

from subfunction.state.store import FileStore

SCHEMA = 1
STATE = Path("/var/lib/subfunction")


class ResourceNames(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The resource names (`subfunction.dev/mlx5`) in the specs of this node's SubFunctions."""

    schema: int = SCHEMA
    uid: str = "resources"
    names: tuple[str, ...] = ()


def open_resource_names(path: Path = STATE) -> FileStore[ResourceNames]:
    """Open the folder of `resources.json`."""
    return FileStore(path, ResourceNames, SCHEMA)
