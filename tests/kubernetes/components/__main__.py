"""For a developer and for make: `PYTHONPATH=tests/kubernetes:tests/vm python -m components build`."""

import argparse
import sys
import time

from components import binaries
from harness import cache
from harness.errors import HarnessError

DESCRIPTION = """The real components of Kubernetes that tests run.

build    build etcd, kube-apiserver and kubelet if they are not in the cache; prints where each is
"""


def main() -> int:
    """Entry point; 1 when something is missing or failed, and says what to do."""
    parser = argparse.ArgumentParser(
        prog="python -m components", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("build",))
    parser.add_argument("--control-plane", action="store_true", help="the kubelet is not needed: envtest's will do")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        with cache.exclusive("lock-go"):
            made = binaries.control_plane() if arguments.control_plane else binaries.build()
    except HarnessError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    for path in (made.etcd, made.apiserver, made.kubelet):
        if path.exists():
            sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"ready in {time.monotonic() - started:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
