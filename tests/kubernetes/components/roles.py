"""The chart's roles, as the files that it makes them from: what each program may ask of the API server."""

from pathlib import Path
from typing import Any, Final

import yaml

FILES: Final = Path(__file__).parents[3] / "charts" / "subfunction" / "files" / "roles"
AGENT: Final = ("agent", "events")
CONTROLLER: Final = ("controller", "events", "lease")


def granted(*files: str) -> frozenset[tuple[str, str, str]]:
    """What these roles grant, one by one: verb, API group, and resource with its subresource."""
    rules: list[Any] = [rule for file in files for rule in yaml.safe_load((FILES / f"{file}.yaml").read_text())]
    return frozenset(
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )
