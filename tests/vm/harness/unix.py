"""Connections to QEMU's sockets."""

import socket
from pathlib import Path


def connect(path: Path, timeout: float | None = None) -> socket.socket:
    """A connection to a UNIX socket.

    Raises:
        OSError: nobody listens there (yet).
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection
