"""The embedded API server as a program of its own."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest
import yaml

from subfunction_simulator.apiserver import ServerSettings, serve


async def test_it_serves_until_a_signal_and_leaves_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kubeconfig = tmp_path / "new" / "kubeconfig"
    running = asyncio.create_task(serve(ServerSettings(kubeconfig=kubeconfig)))
    async with asyncio.timeout(10):
        while not kubeconfig.exists():  # noqa: ASYNC110  it is a file's appearance that a script waits for, too
            await asyncio.sleep(0.01)
        assert kubeconfig.stat().st_mode & 0o777 == 0o600
        url = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession() as session, session.get(f"{url}/readyz") as response:
            assert await response.text() == "ok"
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert list(kubeconfig.parent.iterdir()) == []
    assert capsys.readouterr().out == f"API server at {url}\nexport KUBECONFIG={kubeconfig}\n"
