"""For a developer and for make: `PYTHONPATH=tests/kubernetes:tests/vm python -m components build`."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from components import binaries
from components.controlplane import ControlPlane
from components.helm import CHART, RELEASE, Helm
from harness import cache
from harness.errors import HarnessError

DESCRIPTION = """The real components of Kubernetes that tests run.

build    build etcd, kube-apiserver and kubelet if they are not in the cache; prints where each is
         (--controllers: kube-controller-manager and kube-scheduler too)
manifests  print the chart as one file for `kubectl apply -f`, its namespace first
serve    start etcd and an API server with the project's CRDs; prints a kubeconfig's path, and serves until Ctrl-C
"""


def main() -> int:
    """Entry point; 1 when something is missing or failed, and says what to do."""
    parser = argparse.ArgumentParser(
        prog="python -m components", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("build", "manifests", "serve"))
    parser.add_argument("--control-plane", action="store_true", help="the kubelet is not needed: envtest's will do")
    parser.add_argument("--controllers", action="store_true", help="build those that watch the whole cluster, too")
    arguments = parser.parse_args()
    try:
        if arguments.what == "serve":
            _serve()
        elif arguments.what == "manifests":
            _manifests()
        else:
            _build(control_plane=arguments.control_plane, controllers=arguments.controllers)
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _build(*, control_plane: bool, controllers: bool) -> None:
    started = time.monotonic()
    # A lock of its own: the first build takes minutes, and who needs a VM need not wait for it.
    with cache.exclusive("lock-go"):
        made = binaries.control_plane() if control_plane else binaries.build()
        paths = [made.etcd, made.apiserver, made.kubelet]
        if controllers:
            watching = binaries.controllers()
            paths += [watching.controller_manager, watching.scheduler]
    for path in paths:
        if path.exists():
            sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"ready in {time.monotonic() - started:.1f} s\n")


def _manifests() -> None:
    namespace = (CHART.parent / "release" / "namespace.yaml").read_text()
    with tempfile.TemporaryDirectory() as home:
        # The test of a release is Helm's to run.
        sys.stdout.write(namespace + Helm(Path(home))("template", RELEASE, str(CHART), "--skip-tests"))


def _serve() -> None:
    with ControlPlane() as plane:
        plane.install()
        config = plane.folder / "kubeconfig"
        config.write_text(plane.kubeconfig())
        sys.stdout.write(f"export KUBECONFIG={config}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
