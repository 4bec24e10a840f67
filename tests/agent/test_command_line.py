"""The command line: every setting is shown, every refusal is a sentence, an end is quick."""

import asyncio
import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rig.cluster import Cluster
from subfunction_operator.__main__ import app
from subfunction_operator.agent.settings import Settings

COMMAND = (sys.executable, "-m", "subfunction_operator", "agent")


def misses_it(log: Path) -> bool:
    return "Request attempt" in log.read_text()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SUBFUNCTION_"):
            monkeypatch.delenv(name)
    # Wide, so that no name is broken over two lines.
    monkeypatch.setenv("COLUMNS", "250")


def test_help_shows_every_setting_with_its_sentence_and_its_environment_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["agent", "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code in {0, None}
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in shown
        assert f"SUBFUNCTION_{field.name.upper()}" in shown
    assert "Seconds after which a parent whose kernel does not answer counts as busy" in shown


def test_without_the_name_of_its_node_it_says_what_it_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app(["agent"])
    said = capsys.readouterr()
    assert ended.value.code not in {0, None}
    assert "--node-name" in said.out + said.err
    assert "Traceback" not in said.err


def test_a_kubeconfig_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path) -> None:
    command = [*COMMAND, "--node-name", "n1", "--kubeconfig", str(tmp_path / "absent")]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "no way to the API server" in refused.stderr
    assert "--kubeconfig FILE" in refused.stderr


async def test_sigterm_ends_it_with_success_and_at_once_even_while_the_api_server_is_away(node: Cluster) -> None:
    log = node.root / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(*node.command(log_format="json"), stdout=file, stderr=file)
    await node.apply()
    await node.until_ready(within=30)
    node.server.stop()
    await node.until(functools.partial(misses_it, log), "the agent to miss the API server")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0, log.read_text()
    assert time.monotonic() - began < 3
    assert "Traceback" not in log.read_text()
    assert all(json.loads(line)["message"] for line in log.read_text().splitlines())


async def test_a_range_of_numbers_that_is_none_ends_it_with_a_sentence(node: Cluster) -> None:
    process = await asyncio.create_subprocess_exec(
        *node.command(number_ranges="pci/0000:03:00.0=7"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert b"'pci/0000:03:00.0=7' is no range of numbers for a parent" in said
    assert b"Type [NODE:]PARENT=FIRST-LAST" in said
    assert b"Traceback" not in said
