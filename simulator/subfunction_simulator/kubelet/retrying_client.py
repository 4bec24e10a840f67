"""A request is made until it is answered: an API server that is away comes back."""

import asyncio
import logging
from typing import Any

import aiohttp

from subfunction_simulator.apiserver.client import Answer, Client
from subfunction_simulator.apiserver.media_types import MERGE_PATCH

logger = logging.getLogger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class RetryingClient:
    """The client tries again while no answer comes; a refusal is an answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        """Make one request, as often as it takes."""
        pause = FIRST_PAUSE
        media = MERGE_PATCH if method == "PATCH" else "application/json"
        said = logging.WARNING
        while True:
            try:
                return await self.client(method, path, body, media=media, **query)
            except (aiohttp.ClientError, TimeoutError) as error:
                # Once a request: it may be a wrong certificate, which no new try mends.
                logger.log(said, "%s %s is tried until it is answered: %r", method, path, error)
                said = logging.DEBUG
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def set_status(self, path: str, status: dict[str, Any]) -> None:
        """Merge a status into an object that may be gone."""
        answer = await self("PATCH", f"{path}/status", {"status": status})
        if answer.code not in {200, 404}:
            logger.warning("%s: status not written: %s", path, answer.message)
