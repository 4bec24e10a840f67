"""What a person does in the cluster that is measured: make, look, change, delete."""

import asyncio
import contextlib
import dataclasses
import json
from typing import Any, Final

import aiohttp

from components.controlplane import ADMIN, ControlPlane
from node import manifest
from scale.crowd import SUB_FUNCTIONS

_CREATORS: Final = 16


def session_with(plane: ControlPlane) -> aiohttp.ClientSession:
    """Open a session that may do all."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=64, ssl=plane.tls()),
        headers={"Authorization": f"Bearer {ADMIN}"},
        timeout=aiohttp.ClientTimeout(total=120),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """The API server, as its administrator asks it."""

    session: aiohttp.ClientSession
    url: str

    async def fill(self, of: list[tuple[str, str]]) -> None:
        """Create an object for each (name, node), several at once."""
        turns = iter(of)

        async def create() -> None:
            for name, node in turns:
                await self._create(manifest(name, node=node))

        async with asyncio.TaskGroup() as group:
            for _ in range(_CREATORS):
                group.create_task(create())

    async def _create(self, body: dict[str, Any]) -> None:
        async with self.session.post(self.url + SUB_FUNCTIONS, json=body) as answer:
            if answer.status != 201:
                raise SystemExit(f"POST {SUB_FUNCTIONS}: {answer.status} {await answer.text()}")

    async def list(self, node: str) -> list[dict[str, Any]]:
        """List the objects of a node as its agent does, without a resource version."""
        asked = {"fieldSelector": f"spec.nodeName={node}", "limit": "500"}
        async with self.session.get(self.url + SUB_FUNCTIONS, params=asked) as answer:
            answer.raise_for_status()
            return list((await answer.json())["items"])

    async def allocatable(self, node: str) -> dict[str, str]:
        """Give what a Node shows as allocatable."""
        async with self.session.get(f"{self.url}/api/v1/nodes/{node}") as answer:
            # The kubelet makes its Node a moment after its start.
            found = await answer.json() if answer.status == 200 else {}
            return dict(found.get("status", {}).get("allocatable") or {})

    async def until_listed(self) -> None:
        """Wait until the server has read its store: until then it refuses a LIST."""
        nobody = {"fieldSelector": "spec.nodeName=nobody"}
        while True:
            # Connections from before its restart are closed.
            with contextlib.suppress(aiohttp.ClientError):
                async with self.session.get(self.url + SUB_FUNCTIONS, params=nobody) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(1)

    async def annotate(self, name: str, text: str) -> None:
        """Change an object in a way that asks for nothing."""
        headers = {"Content-Type": "application/merge-patch+json"}
        body = json.dumps({"metadata": {"annotations": {"bench": text}}})
        async with self.session.patch(f"{self.url}{SUB_FUNCTIONS}/{name}", data=body, headers=headers) as answer:
            answer.raise_for_status()

    async def delete(self, name: str) -> None:
        """Delete an object."""
        async with self.session.delete(f"{self.url}{SUB_FUNCTIONS}/{name}") as answer:
            answer.raise_for_status()
