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
        "server_seconds_an_object": "CPU s, an object made",
    },
}


def drawn(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw four panels into an SVG file, both axes logarithmic."""
    matplotlib.rcParams["svg.hashsalt"] = "subfunction"
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for panel, (title, lines) in zip(axes.flat, _PANELS.items(), strict=True):
        for name, label in lines.items():
            panel.plot([row["nodes"] for row in rows], [row[name] for row in rows], marker="o", label=label)
        panel.set(title=title, xscale="log", yscale="log", xlabel="nodes")
        panel.grid(visible=True, alpha=0.3)
        panel.legend(fontsize="small")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    drawn(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
