"""The figures of `make scale` as a picture: what one node costs, over the size of the cluster."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any, Final

# Installed for `make scale` alone, so that neither a type checker nor `make check` knows it.
matplotlib: Any = importlib.import_module("matplotlib")
matplotlib.use("svg")
pyplot: Any = importlib.import_module("matplotlib.pyplot")

_PANELS: Final = {
    "One node's time": {
        "ready_seconds": "s, until all are Ready",
        "agent_seconds": "s of the agent's CPU, for that",
        "peace_seconds_a_minute": "s of its CPU a minute, in peace",
    },
    "Bytes between one node and the API server": {
        "ready_kib": "KiB, until all are allocatable",
        "restart_kib": "KiB, agent starts anew",
        "peace_kib_a_minute": "KiB a minute, in peace",
    },
    "Memory": {
        "agent_mib": "MiB, agent",
        "server_mib": "MiB, API server",
        "stored_mib": "MiB in etcd",
    },
    "The API server's part": {
        "server_list_seconds": "CPU s, a LIST of one node's objects",
        "server_seconds_an_object": "CPU s, an object made (four writes)",
    },
}


_BESIDE: Final = {"textcoords": "offset points", "ha": "center", "fontsize": "small"}


def drawn(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw four panels into an SVG file, both axes logarithmic, each figure beside its point."""
    # Text as text: the file is small, and can be searched.
    matplotlib.rcParams.update({"svg.hashsalt": "subfunction", "svg.fonttype": "none"})
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 8), layout="constrained")
    nodes = [row["nodes"] for row in rows]
    for panel, (title, lines) in zip(axes.flat, _PANELS.items(), strict=True):
        for place, (name, label) in enumerate(lines.items()):
            values = [row[name] for row in rows]
            panel.plot(nodes, values, marker="o", label=label)
            for at in zip(nodes, values, strict=True):
                panel.annotate(
                    f"{at[1]:.2g}" if at[1] < 10 else f"{at[1]:.0f}", at, (0, -14 if place else 6), **_BESIDE
                )
        panel.set_title(title, loc="left")
        panel.set(xscale="log", yscale="log", xlabel="nodes")
        panel.margins(x=0.08, y=0.2)
        panel.set_xticks(nodes, [str(each) for each in nodes])
        panel.set_yticks([], minor=True)
        panel.set_yticks([])
        panel.minorticks_off()
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    drawn(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
