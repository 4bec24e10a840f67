"""The demo needs no kubectl: these few requests do what a person does with one."""

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

SUB_FUNCTIONS: Final = "/apis/subfunction.dev/v1alpha1/subfunctions"
SUB_FUNCTION_NODES: Final = "/apis/subfunction.dev/v1alpha1/subfunctionnodes"
PODS: Final = "/api/v1/namespaces/default/pods"
NODES: Final = "/api/v1/nodes"
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
_NO_END: Final = aiohttp.ClientTimeout(total=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal is what the API server said, and what of the object was wrong."""

    message: str
    causes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster is the API server, as its user meets it."""

    session: aiohttp.ClientSession
    url: str

    async def apply(self, collection: str, manifest: Any) -> Refusal | None:
        """Create an object (`kubectl apply -f`); None when it was accepted."""
        # As kubectl leaves it, for a kubectl that comes later.
        noted = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(manifest) + "\n"}
        applied = {**manifest, "metadata": {**manifest["metadata"], "annotations": noted}}
        async with self.session.post(f"{self.url}{collection}", json=applied) as response:
            answer = await response.json()
        if response.status < 300:
            return None
        causes = answer.get("details", {}).get("causes") or []
        return Refusal(answer["message"], tuple(f"{cause['field']}: {cause['message']}" for cause in causes))

    async def delete(self, collection: str, name: str) -> None:
        """Delete an object (`kubectl delete --wait=false`)."""
        async with self.session.delete(f"{self.url}{collection}/{name}") as response:
            await response.read()

    async def watch(self, collection: str) -> AsyncIterator[tuple[str, Any]]:
        """Follow a collection (`kubectl get -w`), from what is there now."""
        async with self.session.get(f"{self.url}{collection}") as response:
            listed = await response.json()
        for item in listed["items"]:
            yield "ADDED", item
        parameters = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        async with self.session.get(f"{self.url}{collection}", params=parameters, timeout=_NO_END) as stream:
            async for line in stream.content:
                event = json.loads(line)
                yield event["type"], event["object"]

    async def table(self, collection: str, *, wide: bool) -> list[str]:
        """Show a collection as kubectl prints it."""
        async with self.session.get(f"{self.url}{collection}", headers={"Accept": _TABLE}) as response:
            table = await response.json()
        shown = [index for index, column in enumerate(table["columnDefinitions"]) if wide or not column.get("priority")]
        rows = [[table["columnDefinitions"][index]["name"].upper() for index in shown]]
        rows += [
            ["" if row["cells"][index] is None else str(row["cells"][index]) for index in shown]
            for row in table["rows"]
        ]
        widths = [max(len(row[index]) for row in rows) for index in range(len(shown))]
        return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def manifests(path: Path) -> list[Any]:
    """Read the objects of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def condition(item: Any, kind: str) -> Any:
    """Give one condition of an object, an empty one where it has none."""
    conditions = item.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})
