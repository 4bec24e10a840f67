"""What a container sees of the world it was started into."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

NO_DRIVER = "No such device"
"""So begins what open(2) says of a device node that may be opened and whose driver is not there (ENXIO, ENODEV); a
device cgroup that denies it says "Operation not permitted"."""

TELL = """\
echo BEGIN
env
for node in $(find /dev -type c); do
    error=$( (exec 3<>$node) 2>&1 ) || true
    echo "node $node $(stat -c '%t:%T' $node) ${error##*: }"
done
while read -r _ target _ options _; do echo "mount $target ${options%%,*}"; done </proc/mounts
echo END
"""
"""For the container's shell: tells all of it."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The environment, the device nodes (`231:192`, by path), and the mounts, read-only or not, by path."""

    env: Mapping[str, str]
    nodes: Mapping[str, str]
    mounts: Mapping[str, bool]
    refusals: Mapping[str, str]
    """What opening a node said, where a container really opened it; empty if it was opened."""

    @classmethod
    def of_log(cls, log: str) -> Self | None:
        """Read what `TELL` printed, from a log as the kubelet keeps it; None until all of it is there."""
        lines = [line.split(" ", 3)[-1] for line in log.splitlines()]
        if "END" not in lines:
            return None
        told = lines[lines.index("BEGIN") + 1 : lines.index("END")]
        nodes = [line.split(" ", 3)[1:] for line in told if line.startswith("node ")]
        mounts = [line.split(" ")[1:] for line in told if line.startswith("mount ")]
        return cls(
            env=dict(line.split("=", 1) for line in told if "=" in line and not line.startswith(("node ", "mount "))),
            nodes={path: ":".join(str(int(part, 16)) for part in number.split(":")) for path, number, _ in nodes},
            mounts={path: options == "ro" for path, options in mounts},
            refusals={path: refusal for path, _, refusal in nodes},
        )

    @classmethod
    def of_stand_in(cls, told: Mapping[str, Any]) -> Self:
        """Read the file that the stand-in writes for a container."""
        return cls(
            env=told["env"],
            nodes={node["path"]: node["numbers"] for node in told["devices"] if node["numbers"]},
            mounts={mount["path"]: mount["readOnly"] for mount in told["mounts"]},
            refusals={},
        )
