"""Fuzz the decoders with atheris, from the recorded answers on: `python tests/core/fuzz_replies.py -max_total_time=60`.

Atheris stands in a dependency group of its own (`fuzz`). Any exception but a SubFunctionError is a fault; libFuzzer
then writes the input that caused it to the working directory, and `fuzz_replies.py FILE` runs that one again.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

# It has no stubs, and mypy runs where it is not installed.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["subfunction", "pyroute2.netlink"]):
    from tests.core import recordings

    from subfunction.errors import MalformedReply

RECORDINGS = recordings.recordings()
SEPARATOR = b"\xff\x00\xff\x00"


def run(octets: bytes) -> None:
    """Take the first byte as a question or an announcement, the rest as its datagrams."""
    if not octets:
        return
    which = octets[0] % (len(RECORDINGS) + len(recordings.ANNOUNCED))
    datagrams = octets[1:].split(SEPARATOR)
    if which >= len(RECORDINGS):
        name = sorted(recordings.ANNOUNCED)[which - len(RECORDINGS)]
        for datagram in datagrams:
            _read(name, datagram)
        return
    recording = RECORDINGS[which]
    # The look-up of the family is answered as it was, and then by what is fuzzed, every other time.
    *look_up, _ = recording.answers
    recordings.replay(recording, (*look_up, tuple(datagrams)))
    recordings.replay(recording, (tuple(datagrams),))


def _read(name: str, datagram: bytes) -> None:
    try:
        recordings.ANNOUNCED[name](datagram)
    except MalformedReply:
        return


def seeds(folder: Path) -> None:
    """Write the recorded answers as inputs to begin with."""
    for number, recording in enumerate(RECORDINGS):
        (folder / f"{number}").write_bytes(bytes([number]) + SEPARATOR.join(recording.answers[-1]))
    for recording in recordings.announcements():
        number = len(RECORDINGS) + sorted(recordings.ANNOUNCED).index(recording.name)
        for index, group in enumerate(recording.answers):
            (folder / f"{number}-{recording.kernel}-{index}").write_bytes(bytes([number]) + SEPARATOR.join(group))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        seeds(Path(folder))
        atheris.Setup([*sys.argv, *([] if given else [folder])], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
