"""The log: what stands in a line, whoever wrote it and in whichever thread."""

import asyncio
import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from subfunction.kernel.blocking_calls import BlockingCalls
from subfunction.kernel.worker import KernelWorker
from subfunction.process import log

LOG = logging.getLogger("subfunction.test")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_of_json_has_time_level_logger_message_node_and_object(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_logging("info", "json", "worker-1")
    with log.log_context("blue"):
        LOG.warning("it is %s", "so")
    LOG.info("else")
    first, second = lines(capsys)
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "warning",
        "logger": "subfunction.test",
        "message": "it is so",
        "node": "worker-1",
        "object": "blue",
    }
    assert "object" not in second


async def test_threads_that_work_for_an_object_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_logging("info", "json")
    worker = KernelWorker("pci/0000:05:00.0")
    with log.log_context("blue"):
        await worker.run("say", lambda: LOG.info("in the parent's thread"), 10)
        BlockingCalls().run("sf0", "say", lambda: LOG.info("in a thread of its own"))
    with log.log_context("green"):
        await asyncio.gather(worker.run("say", lambda: LOG.info("the next one"), 10))
    worker.stop()
    assert [(line["message"], line["object"]) for line in lines(capsys)] == [
        ("in the parent's thread", "blue"),
        ("in a thread of its own", "blue"),
        ("the next one", "green"),
    ]


def test_a_line_for_people_names_the_object_once(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_logging("info", "text", "worker-1")
    with log.log_context("blue"):
        LOG.warning("it is so")
        LOG.warning("blue: it is so")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("WARNING subfunction.test: blue: it is so")
    assert first.partition(" WARNING")[2] == second.partition(" WARNING")[2]


def test_what_kopf_hangs_on_its_lines_becomes_the_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_logging("info", "json")
    LOG.info("seen", extra={"k8s_ref": {"name": "blue", "uid": "u"}, "k8s_skip": True, "settings": object()})
    [line] = lines(capsys)
    assert line.pop("object") == "blue"
    assert set(line) == {"time", "level", "logger", "message"}


def test_a_fault_keeps_its_traceback_on_its_own_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure_logging("info", "json")
    try:
        _ = 1 / len(())
    except ZeroDivisionError:
        LOG.exception("broken")
    [line] = lines(capsys)
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_settings_are_written_in_one_line_as_they_are_typed() -> None:
    @dataclasses.dataclass
    class Settings:
        node_name: str = "n1"
        kubeconfig: Path | None = None
        sysfs: Path = Path("/host/sys")
        resource_domains: tuple[str, ...] = ("a.example", "b.example")
        numa_hints: bool = True

    assert log.format_settings(Settings()) == (
        "node-name=n1 kubeconfig= sysfs=/host/sys resource-domains=a.example,b.example numa-hints=True"
    )
