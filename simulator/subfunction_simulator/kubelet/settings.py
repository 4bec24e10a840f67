"""These settings say how the stand-in kubelet of one node runs."""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSettings:
    """A node has one kubelet; the API server is named by `kubeconfig` or by `server`."""

    root: Path
    """Its folder, as /var/lib/kubelet is a real one's: `device-plugins/`, `pod-resources/`, and `pods/` with what each
    container was given."""

    node_name: str = "worker-1"
    """The Node that it is; it makes the object if there is none."""

    kubeconfig: Path | None = None
    """A kubeconfig; its current context has a plain HTTP server, with or without a token."""

    server: str | None = None
    """The API server's URL, if no kubeconfig is given."""

    token: str | None = None
    """A bearer token for `server`."""

    restart_pause: float = 1.0
    """Seconds between two tries to start a container; a real kubelet begins with ten, and here a person watches."""

    scheduler: bool = True
    """Whether a pod waits for devices that the node lacks; without a scheduler such a pod is refused by the kubelet."""
