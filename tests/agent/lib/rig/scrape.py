"""Somebody who asks a program how it fares, by HTTP, as Prometheus and a kubelet do."""

import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

ANYWHERE = "127.0.0.1:0"
"""A setting of `listen`: a port that is free, which the log names."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str
    kind: str = ""


class Scraper:
    """Asks one port of this host."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._url = f"http://{host}:{port}"

    @classmethod
    def named_in(cls, lines: Iterable[str]) -> "Scraper | None":
        """Find the port in a program's log."""
        found = (re.search(r"metrics and probes are on \S*:(\d+)", line) for line in lines)
        return next((cls(int(match[1])) for match in found if match), None)

    @classmethod
    def of(cls, records: list[logging.LogRecord], within: float = 10.0) -> "Scraper":
        """Wait until a program of this process, in another thread or before this call, has said where it listens."""
        deadline = time.monotonic() + within
        while (found := cls.named_in(record.getMessage() for record in records)) is None:
            assert time.monotonic() < deadline, "it does not say where it listens"
            time.sleep(0.005)
        return found

    def get(self, path: str, **headers: str) -> Answer:
        """Ask once."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url + path, headers=headers), timeout=10) as found:
                return Answer(found.status, found.read().decode(), found.headers["Content-Type"])
        except urllib.error.HTTPError as refused:
            return Answer(refused.code, refused.read().decode(), refused.headers["Content-Type"])

    def samples(self) -> list[Sample]:
        """Scrape."""
        answer = self.get("/metrics")
        assert answer.status == 200, answer
        return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Sum what is told under a name, of those that have these labels; 0 where there is none."""
        found = (each for each in self.samples() if each.name == name)
        return sum(each.value for each in found if labels.items() <= each.labels.items())
