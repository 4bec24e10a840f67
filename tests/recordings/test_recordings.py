"""The real driver's recorded answers: the product reads each of them, and the simulated kernel answers as it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorded.comparison import find_differences, find_unasked
from recorded.exchanges import Exchange, decode, read_exchanges
from recorded.recording import Recording
from subfunction.kernel.netlink.codec import Message
from subfunction.kernel.port import Port, parse_handle

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECORDINGS = sorted(HERE.glob("*.json"))
PORTS = {"PORT_GET", "PORT_NEW"}
SAME = "in-process-mlx5 and not test_virtual_functions"
"""The tests of the contract that ran on the real driver too."""
UNSEEN = "replies with PORT_PCI_VF_NUMBER"
"""The simulated card has virtual functions, and the emulated firmware under the real driver has none yet."""


def recorded_replies() -> list[object]:
    return [
        pytest.param(exchange, id=f"{file.stem} {exchange.question.command} {number}")
        for file in RECORDINGS
        for number, exchange in enumerate(Recording.load(file).exchanges())
    ]


def test_there_is_a_recording_of_the_real_driver_on_each_kernel() -> None:
    assert [file.stem for file in RECORDINGS] == ["mlx5-linux-6.12", "mlx5-linux-7.3"]


@pytest.mark.parametrize("exchange", recorded_replies())
def test_a_recorded_reply_is_read(exchange: Exchange) -> None:
    (found,) = decode(exchange)
    if exchange.question.family == "devlink":
        assert isinstance(found, Message)
        # `devlink_index/N` is a card, which is no device (Linux 7.2 and later).
        assert parse_handle(found).bus in {"pci", "auxiliary", "devlink_index"}
        if exchange.question.command in PORTS:
            assert Port.of(found).index >= 0


def test_the_simulated_kernel_answers_as_the_real_driver_did(tmp_path: Path) -> None:
    """By the same contract: the same questions, each answered in a form and in words that the real driver has used."""
    file = tmp_path / "exchanges.jsonl"
    command = [sys.executable, "-m", "pytest", "tests/contract", "-q", "-p", "no:xdist", "-k", SAME]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "SUBFUNCTION_RECORD": str(file)}, timeout=500)
    simulated = Recording.of(read_exchanges(file))
    real = Recording.load(HERE / "mlx5-linux-6.12.json")
    assert [each for each in find_differences(simulated, real) if not each.endswith(UNSEEN)] == []
    assert find_unasked(simulated, real) == []
