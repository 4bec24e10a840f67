"""What is in the image, and what is not."""

import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

from tests.image.build import CHECKOUT, Built, build_stage, revision, version

ENVIRONMENT = Path("opt", "subfunction")
PROGRAMS = ("subfunction-operator", "subfunction-device-plugin", "subfunction-simulator")
TOOLS = Path(sys.executable).parent
AARCH64 = 183
"""EM_AARCH64 (include/uapi/linux/elf-em.h)."""


def site(image: Built) -> Path:
    (found,) = (image.root / ENVIRONMENT / "lib").glob("python3.*/site-packages")
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(*extras: str) -> dict[str, str]:
    """The versions of what the project needs at run time, as uv reads uv.lock."""
    words = [part for extra in extras for part in ("--extra", extra)]
    command = [f"{TOOLS}/uv", "export", "--locked", "--no-default-groups", "--no-hashes", "--no-emit-project", *words]
    told = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True, timeout=60).stdout
    lines = [line.split(";")[0].strip() for line in told.splitlines() if line[:1].isalpha() and "win32" not in line]
    return {normal(name): version for name, version in (line.split("==") for line in lines)}


def test_the_dockerfile_has_nothing_that_hadolint_would_say() -> None:
    done = subprocess.run([TOOLS / "hadolint", CHECKOUT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_built_with_the_uv_that_make_uses() -> None:
    said = [re.search(r"UV_VERSION *:?= *(\S+)", (CHECKOUT / name).read_text()) for name in ("Makefile", "Dockerfile")]
    versions = {each[1] for each in said if each}
    assert len(versions) == 1


def test_its_packages_are_those_of_the_lock_and_ours(image: Built) -> None:
    told = [path.name.removesuffix(".dist-info").rsplit("-", 1) for path in site(image).glob("*.dist-info")]
    assert {normal(name): version for name, version in told} == {"subfunction": version(), **locked("simulator")}


def test_our_wheel_has_the_crds_and_no_test(image: Built) -> None:
    (record,) = site(image).glob("subfunction-*.dist-info/RECORD")
    names = [line.split(",")[0] for line in record.read_text().splitlines()]
    ours = {name.split("/")[0] for name in names if not name.startswith(("../", "subfunction-"))}
    assert ours == {"subfunction", "subfunction_operator", "subfunction_deviceplugin", "subfunction_simulator"}
    assert [name for name in names if "test" in name] == []
    carried = {path.name: path.read_bytes() for path in (site(image) / "subfunction_simulator" / "crds").iterdir()}
    assert carried == {path.name: path.read_bytes() for path in (CHECKOUT / "crds").iterdir()}


def test_every_module_of_it_is_compiled(image: Built) -> None:
    sources = [path for name in ("subfunction_operator", "kopf") for path in (site(image) / name).rglob("*.py")]
    bare = [path for path in sources if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))]
    assert sources
    assert bare == []


def test_nothing_that_built_it_is_left(image: Built) -> None:
    programs = {path.name for path in (image.root / ENVIRONMENT / "bin").iterdir()}
    assert set(PROGRAMS) <= programs
    assert programs & {"uv", "pip", "ruff", "pytest"} == set()
    gone = ("src", "opt/uv", "run/secrets", "root/.cache", "usr/bin/gcc")
    assert [name for name in gone if (image.root / name).exists()] == []


def test_nobody_but_root_may_change_its_files(image: Built) -> None:
    paths = [path for path in (image.root / ENVIRONMENT).rglob("*") if not path.is_symlink()]
    more = stat.S_IWOTH | stat.S_IWGRP | stat.S_ISUID | stat.S_ISGID
    assert paths
    assert [path for path in paths if path.stat().st_uid != 0 or path.stat().st_mode & more] == []


def test_it_says_what_it_is_and_is_nobody(image: Built) -> None:
    configuration = image.configuration()["config"]
    assert configuration["User"] == "65532:65532"
    assert "Entrypoint" not in configuration
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == version()
    assert labels["org.opencontainers.image.revision"] == revision()
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_syft_finds_our_wheel_and_every_package(image: Built, tmp_path: Path) -> None:
    archive = image.archive(tmp_path / "image.tar")
    command = [f"{TOOLS}/syft", "scan", f"oci-archive:{archive}", "--output", "json", "--quiet"]
    environment = {"SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300)
    found = {(each["type"], normal(each["name"])): each["version"] for each in json.loads(done.stdout)["artifacts"]}
    assert found["python", "subfunction"] == version()
    assert {name for name in locked("simulator") if ("python", name) not in found} == set()
    assert ("deb", "libc6") in found


def test_two_builds_of_the_wheel_are_the_same_bytes(tmp_path: Path) -> None:
    sums = set()
    for name in ("one", "two"):
        command = [f"{TOOLS}/uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / name)]
        subprocess.run(command, cwd=CHECKOUT, check=True, timeout=120)
        (wheel,) = (tmp_path / name).glob("*.whl")
        sums.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert len(sums) == 1


def test_what_is_made_for_arm64_has_its_libraries_and_is_made_here_without_emulation() -> None:
    stage = build_stage("arm64")
    try:
        heads = [path.read_bytes()[:20] for path in (stage.root / ENVIRONMENT).rglob("*.so*")]
    finally:
        stage.remove()
    assert len(heads) > 10
    assert {int.from_bytes(head[18:20], "little") for head in heads} == {AARCH64}
