"""The one image of all containers, made on the spot: Debian's static busybox, in the form of `docker save`."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

PAUSE = "docker.io/local/pause:1"
BOX = "docker.io/local/box:1"
_DIRECTORIES = ("bin", "dev", "etc", "proc", "sys", "tmp", "root")


def write(archive: Path, busybox: Path) -> None:
    """Write both names of the image into a docker archive."""
    applets = ("sh", "env", "find", "sleep", "stat", "cat", "ls", "head")
    layer = _tar(
        *((name, None) for name in _DIRECTORIES),
        ("bin/busybox", busybox.read_bytes()),
        *((f"bin/{name}", "busybox") for name in applets),
    )
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sleep", "2147483647"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE, BOX], "Layers": ["layer.tar"]}]
    whole = _tar(
        ("layer.tar", layer),
        ("config.json", json.dumps(config).encode()),
        ("manifest.json", json.dumps(manifest).encode()),
    )
    archive.write_bytes(whole)


def _tar(*members: tuple[str, bytes | str | None]) -> bytes:
    """Pack files (bytes), symbolic links (what they point at) and directories (None)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return packed.getvalue()
