"""Debian's containerd with runc and CNI plugins, unpacked into the cache and run in an enclosure."""

import json
import os
import subprocess
from pathlib import Path

from harness.errors import HarnessError
from harness.packages import unpacked
from harness.process import Guarded
from harness.wait import until
from worker import image
from worker.enclosure import Enclosure

PACKAGES = ("containerd", "runc", "containernetworking-plugins", "busybox-static")
SUBNET = f"10.245.{os.getpid() % 256}.0/24"
"""Of the pods of one node, another one for each run at a time; nobody speaks to them."""
SOCKET = "containerd.sock"
PLUGINS = Path("usr", "lib", "cni")
_UNUSED = ("aufs", "btrfs", "devmapper", "overlayfs", "zfs")
_SECONDS = 30.0


class Runtime:
    """A running containerd."""

    def __init__(self, enclosure: Enclosure) -> None:
        self._enclosure = enclosure
        self._root = packages()
        self.socket = enclosure.run / SOCKET
        self._process = Guarded(
            enclosure.command(*self._with_path(), "containerd", "-c", str(self._configure())), self.log
        )

    @property
    def log(self) -> Path:
        """What it says."""
        return self._enclosure.run / "containerd.log"

    def prepare(self) -> None:
        """Wait until it answers, and give it the image.

        Raises:
            HarnessError: it does not, or does not take it.
        """
        until(lambda: self._ctr("version").returncode, lambda code: code == 0, _SECONDS)
        archive = self._enclosure.run / "image.tar"
        image.write(archive, self._root / "bin" / "busybox")
        imported = self._ctr("images", "import", "--snapshotter", "native", str(archive))
        if imported.returncode != 0:
            raise HarnessError(f"the image was not imported: {imported.stderr}")

    def kill(self, container: str) -> None:
        """Kill a container's process, as a crash does.

        Raises:
            HarnessError: there is no such container, or it does not run.
        """
        killed = self._ctr("tasks", "kill", "--signal", "SIGKILL", container)
        if killed.returncode != 0:
            raise HarnessError(f"{container} was not killed: {killed.stderr}")

    def end(self) -> None:
        """End containerd; its shims and containers end with the enclosure."""
        self._process.kill()

    def _ctr(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        where = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io"]
        command = self._enclosure.command(*self._with_path(), *where, *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)

    def _with_path(self) -> list[str]:
        theirs = (self._root / "usr" / "bin", self._root / "usr" / "sbin")
        return ["/usr/bin/env", f"PATH={os.pathsep.join((*map(str, theirs), os.defpath, '/usr/sbin', '/sbin'))}"]

    def _configure(self) -> Path:
        return write_configuration(self._enclosure.run, self._enclosure.run, self._root / PLUGINS)


def write_configuration(into: Path, run: Path, plugins: Path) -> Path:
    """Write containerd's settings, and the pods' network, into a folder; give the file to start it with.

    `run` is the folder's path where containerd runs, and will have its socket and its data.
    """
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipam": {"type": "host-local", "subnet": SUBNET, "dataDir": str(run / "addresses")}}
        ],
    }
    (into / "cni").mkdir()
    (into / "cni" / "10-pods.conflist").write_text(json.dumps(network))
    path = into / "containerd.toml"
    path.write_text(_CONFIGURATION.format(
        run=run,
        socket=run / SOCKET,
        unused=", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in _UNUSED),
        pause=image.PAUSE,
        plugins=plugins,
    ))  # fmt: skip
    return path


def packages() -> Path:
    """The packages, unpacked; from the cache or from the system's own mirror."""
    return unpacked("containerd", *PACKAGES)


# Without CAP_SYS_RESOURCE runc cannot lower an oom_score_adj, and says no more than "can't get final child's PID from
# pipe: EOF". The native snapshotter copies: it works on any file system.
_CONFIGURATION = """\
version = 2
root = "{run}/containerd"
state = "/run/containerd"
disabled_plugins = [{unused}]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{run}/cni"
"""
