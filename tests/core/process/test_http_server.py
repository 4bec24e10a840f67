"""Metrics and probes over HTTP: where it listens, what it answers, and that nobody holds it up."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rig.scrape import Scraper
from subfunction.errors import CannotListen
from subfunction.process.http_server import Address, Listener, serve_metrics
from subfunction.process.metrics import AgentMetrics, PluginMetrics, ProgramMetrics
from subfunction.process.probes import STALLED_SECONDS, Heartbeat, Probes, ReadinessGate


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def listening(
    probes: Probes, metrics: ProgramMetrics | None = None, address: str = "127.0.0.1:0"
) -> Iterator[tuple[Listener, Scraper]]:
    with Listener(Address.parse(address), metrics or AgentMetrics(), probes) as listener:
        yield listener, Scraper(listener.port)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9341", "", 9341),
        ("127.0.0.1:9341", "127.0.0.1", 9341),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::]:9341", "::", 9341),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_is_read_and_written_as_people_type_it(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == (host, port)
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "9341",
        ":",
        ":99999",
        ":-1",
        "::1:9341",
        "[::]:",
        "[::]",
        "localhost:9341",
        "[1.2.3.4]:1",
        "1.2.3:1",
        "[z]:1",
        " :1",
    ],
)
def test_what_is_no_address_is_refused_with_what_to_type(text: str) -> None:
    with pytest.raises(CannotListen) as refused:
        Address.parse(text)
    assert repr(text) in str(refused.value)
    assert "`:9341`" in str(refused.value)
    assert "`[::1]:9341`" in str(refused.value)


@pytest.mark.parametrize("address", [":0", "[::]:0"])
def test_every_address_means_both_families(address: str) -> None:
    with listening(Probes(tuple), address=address) as (listener, of_four):
        assert of_four.get("/livez").status == 200
        assert Scraper(listener.port, "[::1]").get("/livez").status == 200


def test_a_port_that_somebody_has_is_refused_with_how_to_find_out_who() -> None:
    with listening(Probes(tuple)) as (listener, _):
        with pytest.raises(CannotListen) as refused:
            Address("127.0.0.1", listener.port).bound()
        assert f"cannot listen on 127.0.0.1:{listener.port}: Address already in use" in str(refused.value)
        assert f"ss -ltnp 'sport = :{listener.port}'" in str(refused.value)
        assert "--listen" in str(refused.value)


def test_after_its_end_the_port_is_free_at_once() -> None:
    with listening(Probes(tuple)) as (listener, scraper):
        port = listener.port
        scraper.get("/livez")
    with listening(Probes(tuple), address=f"127.0.0.1:{port}") as (_, scraper):
        assert scraper.get("/livez").status == 200


def test_its_end_waits_for_nobody_who_is_still_asking() -> None:
    with listening(Probes(tuple)) as (listener, scraper):
        silent = socket.create_connection(("127.0.0.1", listener.port))
        scraper.get("/livez")  # by now the silent one is being listened to
        began = time.monotonic()
    assert time.monotonic() - began < 2
    silent.close()


def test_empty_serves_nothing() -> None:
    before = threading.active_count()
    with serve_metrics("", AgentMetrics(), tuple):
        assert threading.active_count() == before


def test_it_is_ready_once_all_has_come_and_says_until_then_what_is_missing_and_why() -> None:
    awaited = ReadinessGate("the first LIST", "the first look")
    with listening(Probes(awaited)) as (_, scraper):
        assert scraper.get("/readyz") == (
            503,
            "not ready: the first LIST; the first look\n",
            "text/plain; charset=utf-8",
        )
        awaited.fail("the first LIST", "connection refused")
        awaited.complete("the first look")
        assert scraper.get("/readyz").text == "not ready: the first LIST: connection refused\n"
        awaited.complete("the first LIST")
        awaited.fail("the first LIST", "connection refused")  # later, when it has been there once
        assert scraper.get("/readyz")[:2] == (200, "ready\n")
        assert scraper.get("/livez")[:2] == (200, "live\n")


def test_a_loop_that_stands_still_is_told_while_it_stands_still_and_forgiven_when_it_moves() -> None:
    clock = Clock()
    heartbeats = [Heartbeat(name, clock) for name in ("main", "watch")]
    release = threading.Event()
    moving = threading.Event()

    async def beats() -> None:
        beating = asyncio.create_task(heartbeats[0].beat())
        await asyncio.sleep(0)
        moving.set()
        release.wait(10)  # the loop hangs here
        await asyncio.sleep(1.1)
        beating.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(beats()))
    thread.start()
    moving.wait(10)
    with listening(Probes(tuple, *heartbeats)) as (_, scraper):
        assert scraper.get("/livez").status == 200
        clock.now = STALLED_SECONDS + 1
        stuck = scraper.get("/livez")
        assert stuck.status == 503
        assert stuck.text == "not live: the main loop has not moved for 31 s; the watch loop has not moved for 31 s\n"
        assert scraper.get("/readyz").text.startswith("not ready: the main loop")
        release.set()
        thread.join(10)
        assert scraper.get("/livez").text == "not live: the watch loop has not moved for 31 s\n"


def test_who_says_nothing_and_who_talks_nonsense_hold_nobody_up() -> None:
    with listening(Probes(tuple)) as (listener, scraper):
        silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]
        for nonsense in (b"\x16\x03\x01 hello\r\n\r\n", b"GET\r\n\r\n", b"GET /" + b"x" * 20_000, b"\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", listener.port)) as rude:
                rude.sendall(nonsense)
        began = time.monotonic()
        assert scraper.get("/readyz").status == 200
        assert time.monotonic() - began < 2
        for each in silent:
            each.close()


def test_more_than_it_takes_at_once_are_turned_away_and_none_is_left_open() -> None:
    with listening(Probes(tuple)) as (listener, scraper):
        many = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(64)]
        with socket.create_connection(("127.0.0.1", listener.port)) as late:
            late.settimeout(10)
            assert late.recv(1) == b""
        for each in many:
            each.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert scraper.get("/livez").status == 200
                break
            except OSError:
                assert time.monotonic() < deadline


def test_other_paths_other_methods_and_a_head_alone_are_answered_as_http_has_it() -> None:
    with listening(Probes(tuple)) as (listener, scraper):
        assert scraper.get("/")[:2] == (404, "/metrics /livez /readyz\n")
        assert scraper.get("/livez?verbose").status == 200
        for method, begins in (("POST", b"HTTP/1.1 405 "), ("HEAD", b"HTTP/1.1 200 ")):
            with socket.create_connection(("127.0.0.1", listener.port)) as asked:
                asked.sendall(f"{method} /livez HTTP/1.1\r\n\r\n".encode())
                answer = b"".join(iter(lambda: asked.recv(4096), b""))
            assert answer.startswith(begins)
        assert answer.endswith(b"\r\n\r\n")
        assert b"Content-Length: 5\r\n" in answer


def test_a_figure_that_cannot_be_told_is_a_fault_of_that_answer_alone() -> None:
    metrics = AgentMetrics()

    def broken() -> dict[tuple[str, ...], float]:
        raise ZeroDivisionError

    metrics.backlog.source = broken
    with listening(Probes(tuple), metrics) as (_, scraper):
        assert scraper.get("/metrics")[:2] == (500, "a fault of the program; see its log\n")
        assert scraper.get("/livez").status == 200
        metrics.backlog.source = dict
        assert scraper.get("/metrics").status == 200


def test_prometheus_is_answered_in_the_form_that_it_asks_for() -> None:
    with listening(Probes(tuple)) as (_, scraper):
        plain = scraper.get("/metrics")
        assert plain.kind.startswith("text/plain; version=0.0.4")
        modern = scraper.get("/metrics", Accept="application/openmetrics-text;version=1.0.0")
        assert modern.kind.startswith("application/openmetrics-text")
        assert modern.text.endswith("# EOF\n")


def test_two_programs_in_one_process_know_nothing_of_each_others_figures() -> None:
    one, other = AgentMetrics(), AgentMetrics()
    one.record_error("Full")
    with listening(Probes(tuple), one) as (_, of_one), listening(Probes(tuple), other) as (_, of_other):
        assert of_one.value("subfunction_errors_total", reason="Full") == 1
        assert of_other.value("subfunction_errors_total", reason="Full") == 0


def test_a_scrape_says_itself_whether_the_program_is_ready_and_how_late_its_loops_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    awaited, heartbeat = ReadinessGate("a kubelet"), Heartbeat("main")
    with serve_metrics("127.0.0.1:0", PluginMetrics(), awaited, heartbeat):
        scraper = Scraper.of(caplog.records)
        assert scraper.value("subfunction_ready") == 0
        awaited.complete("a kubelet")
        assert scraper.value("subfunction_ready") == 1
        assert 0 < scraper.value("subfunction_heartbeat_age_seconds", loop="main") < 10
