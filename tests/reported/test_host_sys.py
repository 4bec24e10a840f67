"""What is mounted below the host's /sys (cgroups, debugfs, efivars) is not a container's to write.

A runtime binds a folder with all that is mounted below it, and `readOnly` is about the folder's own mount alone. The
chart's mounts are made here as runc makes them, over a node whose /sys has cgroups in it.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml

TEMPLATES: Final = Path(__file__).parents[2] / "charts" / "subfunction" / "templates"
LISTED: Final = re.compile(r"^ *- (\{name: [\w-]+, (?:mountPath|hostPath): .*\})$", re.MULTILINE)
KILL: Final = "sys/fs/cgroup/kubepods/cgroup.kill"
NODE: Final = f"""
mount -t tmpfs scratch $root
mkdir -p $root/node/sys/devices $root/node/sys/bus $root/node/sys/fs/cgroup $root/container
mount -t tmpfs cgroup $root/node/sys/fs/cgroup
mkdir $root/node/sys/fs/cgroup/kubepods
echo untouched >$root/node/{KILL}
"""
WRITE: Final = """
find $root/container -name cgroup.kill -exec sh -c 'echo killed >"$1"' sh {} ';' 2>/dev/null || true
"""


class Mounted(NamedTuple):
    """A folder of the node below /sys, and how a container has it."""

    folder: str
    place: str
    read_only: bool
    with_all_below: bool

    def lines(self) -> list[str]:
        there = f"$root/container{shlex.quote(self.place)}"
        lines = [f"mkdir -p {there}", f"mount --rbind $root/node{shlex.quote(self.folder)} {there}"]
        if self.read_only:
            lines.append(f"mount -o remount,bind,ro {there}")
        if self.with_all_below:
            below = f'grep -o " {there}/[^ ]*" /proc/self/mounts'
            lines.append(f"for each in $({below}); do mount -o remount,bind,ro $each; done")
        return lines


def mounted(program: str) -> list[Mounted]:
    """Read of a template which folders below /sys its container has."""
    text = re.sub(r"\{\{.*?\}\}", "templated", (TEMPLATES / f"{program}.yaml").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = [yaml.safe_load(each) for each in LISTED.findall(text)]
    folders = {each["name"]: each["hostPath"]["path"] for each in listed if "hostPath" in each}
    return [
        Mounted(
            folders[each["name"]],
            each["mountPath"],
            bool(each.get("readOnly")),
            each.get("recursiveReadOnly", "Disabled") != "Disabled",
        )
        for each in listed
        if "mountPath" in each and folders.get(each["name"], "").startswith("/sys")
    ]


@pytest.mark.parametrize("program", ["agent", "device-plugin"])
@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="issue H: what is mounted below the host's /sys is writable to both programs, `readOnly` or not",
)
def test_the_cgroups_of_the_node_are_not_to_be_written(tmp_path: Path, program: str) -> None:
    mounts = mounted(program)
    assert mounts, "the template names no folder below /sys in the form that is read here"
    lines = [line for each in mounts for line in each.lines()]
    confined = f"exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs sh -c {shlex.quote(WRITE)}"
    script = "\n".join([f"root={tmp_path}; export root", NODE, *lines, f"({confined})", f"cat $root/node/{KILL}"])
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", "--propagation", "private", *mapped, "sh", "-euc", script]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
    assert told.stdout == "untouched\n"
