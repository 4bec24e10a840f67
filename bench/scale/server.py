"""What an API server and its store say of themselves: processor time, memory, bytes stored."""

import dataclasses
from collections import defaultdict
from typing import Final

import aiohttp

_MIB: Final = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Seconds of processor time since the start, MiB of memory, MiB in etcd, and events handed to watches."""

    seconds: float
    store_seconds: float
    mib: float
    store_mib: float
    stored_mib: float


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """The control plane under load, as its administrator asks it."""

    session: aiohttp.ClientSession
    url: str
    store_url: str

    async def load(self) -> Load:
        """Ask both now."""
        server, store = await _metrics(self.session, self.url), await _metrics(self.session, self.store_url)
        return Load(
            seconds=server["process_cpu_seconds_total"],
            store_seconds=store["process_cpu_seconds_total"],
            mib=server["process_resident_memory_bytes"] / _MIB,
            store_mib=store["process_resident_memory_bytes"] / _MIB,
            stored_mib=store["etcd_mvcc_db_total_size_in_use_in_bytes"] / _MIB,
        )


async def metered(session: aiohttp.ClientSession, url: str, name: str) -> float:
    """Give a metric of a program, summed over its labels."""
    return (await _metrics(session, url))[name]


async def _metrics(session: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """Give all that a program says of itself, summed over labels."""
    async with session.get(f"{url}/metrics") as answer:
        answer.raise_for_status()
        text = await answer.text()
    found: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        if line and line[0] != "#":
            labelled, _, value = line.rpartition(" ")
            found[labelled.partition("{")[0]] += float(value)
    return found
