"""The other nodes of a large cluster: each lists, watches and writes as an agent does, and has no kernel.

A thousand agents do not fit on one machine. What an API server sees of one does: a LIST and a WATCH of its node's
objects by field selector, a connection for it, and for each object a finalizer, a status and an Event. The status that
is written is one that a real agent wrote.
"""

import argparse
import asyncio
import json
import random
import ssl
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

GROUP: Final = "/apis/subfunction.dev/v1alpha1"
SUB_FUNCTIONS: Final = f"{GROUP}/subfunctions"
FINALIZER: Final = "subfunction.dev/agent"
_WRITERS: Final = 48
_LISTERS: Final = 4
_PAUSE: Final = 2.0
_JSON: Final = {"Content-Type": "application/json"}
_MERGE: Final = {"Content-Type": "application/merge-patch+json"}
_PATCH: Final = {"Content-Type": "application/json-patch+json"}


class Crowd:
    """The nodes of one process; `status` is what they say of each object."""

    def __init__(self, session: aiohttp.ClientSession, url: str, status: dict[str, Any]) -> None:
        self.watching = 0
        self.lists = 0
        self.refused = 0
        self.ready = 0
        self._session = session
        self._url = url
        self._status = status
        # As many writes at once as keep the server busy; the nodes of a real cluster are not all at it at once either.
        self._turns = asyncio.Semaphore(_WRITERS)
        # A roll-out starts agents by and by. All thousand at once: the server answered 504 to the most of them.
        self._starts = asyncio.Semaphore(_LISTERS)
        self._done: set[str] = set()

    async def live(self, node: str) -> None:
        """Be one node, for ever."""
        selector = {"fieldSelector": f"spec.nodeName={node}"}
        while True:
            version: str | None = await self._list(selector)
            while version is not None:
                version = await self._watch(selector, version)

    async def _watch(self, selector: dict[str, str], version: str) -> str | None:
        """Follow one watch to its end; give where to go on, or nothing where that is too long ago for the server."""
        # Agents open theirs anew every 300 s, each at its own moment.
        asked = {**selector, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        asked["timeoutSeconds"] = str(random.randint(240, 300))  # spreads load, keeps no secret
        async with self._session.get(self._url + SUB_FUNCTIONS, params=asked) as answer:
            answer.raise_for_status()
            self.watching += 1
            try:
                async for line in answer.content:
                    event = msgspec.json.decode(line)
                    if event["type"] == "ERROR":
                        return None
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        await self._prepare(event["object"])
            finally:
                self.watching -= 1
        return version

    async def _list(self, selector: dict[str, str]) -> str:
        asked = {**selector, "limit": "500"}
        while True:
            async with self._starts, self._session.get(self._url + SUB_FUNCTIONS, params=asked) as answer:
                if answer.status == 200:
                    found = msgspec.json.decode(await answer.read())
                    break
            # 429 and 504: the server is at its limits; an agent tries again too.
            self.refused += 1
            await asyncio.sleep(_PAUSE)
        self.lists += 1
        for each in found["items"]:
            if "status" not in each:
                await self._prepare(each)
        return str(found["metadata"]["resourceVersion"])

    async def _prepare(self, found: dict[str, Any]) -> None:
        metadata = found["metadata"]
        if metadata["uid"] in self._done:
            return
        self._done.add(metadata["uid"])
        where = f"{SUB_FUNCTIONS}/{metadata['name']}"
        held = {key: metadata[key] for key in ("uid", "resourceVersion")}
        async with self._turns:
            await self._write("PATCH", where, {"metadata": {**held, "finalizers": [FINALIZER]}}, _MERGE)
            test = {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]}
            status = {"op": "add", "path": "/status", "value": self._status}
            await self._write("PATCH", f"{where}/status", [test, status], _PATCH)
            await self._write("POST", "/api/v1/namespaces/default/events", event_of(found), _JSON)
        self.ready += 1

    async def _write(self, method: str, path: str, body: Any, headers: dict[str, str]) -> None:
        data = msgspec.json.encode(body)
        async with self._session.request(method, self._url + path, data=data, headers=headers) as answer:
            if answer.status >= 300:
                raise SystemExit(f"{method} {path}: {answer.status} {await answer.text()}")
            await answer.read()


def event_of(found: dict[str, Any]) -> dict[str, Any]:
    """Give an Event of the size and form that the agent posts."""
    metadata = found["metadata"]
    return {
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": "default"},
        "involvedObject": {
            **{key: found[key] for key in ("apiVersion", "kind")},
            **{key: metadata[key] for key in ("name", "uid")},
        },
        "reason": "Ready",
        "message": "the sub-function is ready for pods",
        "type": "Normal",
        "source": {"component": "subfunction-agent", "host": found["spec"]["nodeName"]},
        "reportingComponent": "subfunction-agent",
        "reportingInstance": found["spec"]["nodeName"],
        "count": 1,
    }


async def main() -> None:
    """Be the nodes named on the command line; say once a second how far they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--authority", required=True, type=Path)
    parser.add_argument("--token", required=True)
    parser.add_argument("--status", required=True, type=Path, help="a file with the status to write, as JSON")
    parser.add_argument("--nodes", required=True, type=int, help="how many: node-00001 and on")
    options = parser.parse_args()
    tls = ssl.create_default_context(cafile=options.authority)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            headers={"Authorization": f"Bearer {options.token}"},
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=1 << 20,
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        crowd = Crowd(session, options.server, json.loads(options.status.read_bytes()))
        for number in range(1, options.nodes + 1):
            group.create_task(crowd.live(node_name(number)))
        while True:
            print(
                json.dumps(
                    {"watching": crowd.watching, "ready": crowd.ready, "lists": crowd.lists, "refused": crowd.refused}
                ),
                flush=True,
            )
            await asyncio.sleep(0.5)


def node_name(number: int) -> str:
    """Give the name of a node; 0 is the one with the real agent."""
    return f"node-{number:05}"


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except* aiohttp.ClientError as errors:
        sys.exit(f"the API server is gone: {errors.exceptions[0]!r}")
