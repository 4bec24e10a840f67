"""The chart's values: each is explained, known to the schema and a setting of a program; the README says what they say.

`make docs` writes the table anew.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from subfunction_deviceplugin.settings import Settings as PluginSettings
from subfunction_operator.agent.settings import Settings as AgentSettings
from subfunction_operator.controller.settings import ControllerSettings

CHART: Final = Path(__file__).parents[2] / "charts" / "subfunction"
TEXT: Final = (CHART / "values.yaml").read_text(encoding="utf-8")
VALUES: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SCHEMA: Final[dict[str, Any]] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
README: Final = CHART / "README.md"
MADE: Final = "<!-- What follows is made from values.yaml by `make docs`. -->\n"
KEY: Final = re.compile(r"( *)(\w+):")

OF_THE_POD: Final = (
    {"node_name", "kubeconfig", "service_account", "sysfs", "netlink", "devices", "boot_id"}
    | {f"lease_{what}" for what in ("name", "namespace")}
    | {"identity"}
)
"""What is not for a person to choose in a cluster: the chart sets it, or nobody does."""


@dataclasses.dataclass(frozen=True, slots=True)
class Explained:
    """A value with its comment."""

    path: str
    text: str

    @property
    def default(self) -> Any:
        found: Any = VALUES
        for key in self.path.split("."):
            found = found[key]
        return found


def explained() -> Iterator[Explained]:
    """Each value whose comment begins with two dashes; a comment goes on in the lines below."""
    path: list[tuple[int, str]] = []
    said: list[str] = []
    for line in TEXT.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            said = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#") and said:
            said.append(stripped.removeprefix("#").strip())
        elif found := KEY.match(line):
            path = [*(each for each in path if each[0] < len(found[1])), (len(found[1]), found[2])]
            if said:
                yield Explained(".".join(key for _, key in path), " ".join(said))
            said = []


ALL: Final = tuple(explained())


def leaves(values: Any, path: str = "") -> Iterator[str]:
    """The paths of what has no keys below it, or is explained as one."""
    if path in {each.path for each in ALL} or not isinstance(values, dict):
        yield path
        return
    for key, value in values.items():
        yield from leaves(value, f"{path}.{key}".lstrip("."))


def table() -> str:
    rows = [f"| `{each.path}` | `{json.dumps(each.default)}` | {each.text} |" for each in ALL]
    return "\n".join(("| value | default | |", "|---|---|---|", *rows)) + "\n"


def test_each_value_is_explained() -> None:
    assert list(leaves(VALUES)) == [each.path for each in ALL]


def test_the_readme_says_what_the_comments_say() -> None:
    by_hand, _, made = README.read_text(encoding="utf-8").partition(MADE)
    if os.environ.get("SUBFUNCTION_WRITE_DOCS"):
        README.write_text(f"{by_hand}{MADE}\n{table()}", encoding="utf-8")
        return
    assert made == f"\n{table()}", "write it anew: make docs"


def test_the_defaults_are_right_by_the_schema() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(VALUES)


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each object of the schema that has keys of its own."""
    if isinstance(schema, dict):
        if "properties" in schema and path != "global":
            yield path, schema
        for key, value in schema.items():
            yield from objects(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from objects(value, f"{path}/{index}")


@pytest.mark.parametrize(
    ("path", "schema"), list(objects(SCHEMA)), ids=lambda each: each if isinstance(each, str) else ""
)
def test_no_object_takes_a_mistyped_key(path: str, schema: Any) -> None:
    assert schema["additionalProperties"] is False, path


def test_the_schema_knows_the_same_keys() -> None:
    def known(schema: Any, values: Any) -> Any:
        if "properties" not in schema or not isinstance(values, dict):
            return None
        return {key: known(below, values.get(key)) for key, below in schema["properties"].items() if key != "global"}

    def given(values: Any, path: str = "") -> Any:
        if not isinstance(values, dict) or path in {each.path for each in ALL}:
            return None
        return {key: given(value, f"{path}.{key}".lstrip(".")) for key, value in values.items()}

    assert known(SCHEMA, VALUES) == given(VALUES)


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


@pytest.mark.parametrize(
    ("program", "settings"),
    [("agent", AgentSettings), ("devicePlugin", PluginSettings), ("controller", ControllerSettings)],
)
def test_each_setting_is_a_value_with_the_same_default(program: str, settings: Any) -> None:
    values = VALUES | VALUES[program]
    # The chart serves metrics and probes, a program by itself does not.
    given = {field.name: field for field in dataclasses.fields(settings) if field.name not in OF_THE_POD | {"listen"}}
    defaults = {camel(name): plain(field.default) for name, field in given.items()}
    assert {name: values.get(name) for name in defaults} == defaults


def plain(value: Any) -> Any:
    """A setting's default as YAML has it."""
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value
