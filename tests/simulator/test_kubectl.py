"""Which kubectl is taken where several could be."""

from pathlib import Path

import pytest

from subfunction_simulator.kubectl import cache, kubectl


def _program(folder: Path, minor: str) -> Path:
    program = folder / "kubectl"
    program.write_text(f"""#!/bin/sh\necho '{{"clientVersion": {{"major": "1", "minor": "{minor}"}}}}'\n""")
    program.chmod(0o755)
    return program


def test_the_one_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL", "/opt/kubectl")
    assert kubectl() == Path("/opt/kubectl")


def test_one_on_the_path_is_taken_if_it_is_new_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECTL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    program = _program(tmp_path, "32+")
    assert kubectl() == program


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"SUBFUNCTION_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/subfunction"),
        ({"HOME": "/c"}, "/c/.cache/subfunction"),
        ({}, "/var/tmp/subfunction-cache"),
    ],
)
def test_what_is_fetched_is_kept_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], folder: str
) -> None:
    for name in ("SUBFUNCTION_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache() == Path(folder)
