"""JSON lines to the zygote: many requests under way at once, each with its own deadline."""

import contextlib
import itertools
import json
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from harness.unix import connect


class ChannelClosed(Exception):
    """Nobody is at the other end any more."""


class Channel:
    """The host's end of the virtio serial port."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._reader = threading.Thread(target=self._read, name=f"channel {path.parent.name}", daemon=True)
        self._reader.start()

    def send(self, request: dict[str, Any]) -> Future[dict[str, Any]]:
        """Send a request; the future fails with ChannelClosed when the other end goes."""
        future: Future[dict[str, Any]] = Future()
        number = next(self._ids)
        line = json.dumps({"id": number, **request}).encode() + b"\n"
        with self._lock:
            if self._closed:
                future.set_exception(ChannelClosed())
                return future
            self._waiting[number] = future
            try:
                self._socket.sendall(line)
            except OSError:
                del self._waiting[number]
                future.set_exception(ChannelClosed())
        return future

    def close(self) -> None:
        """Close this end; what is under way fails."""
        with contextlib.suppress(OSError):  # the other end may have been first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(timeout=10)
        self._socket.close()

    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                self._deliver(json.loads(line))
        with self._lock:
            self._closed = True
            abandoned = list(self._waiting.values())
            self._waiting.clear()
        for future in abandoned:
            future.set_exception(ChannelClosed())

    def _deliver(self, answer: dict[str, Any]) -> None:
        with self._lock:
            future = self._waiting.pop(answer.pop("id"), None)
        if future is not None:
            future.set_result(answer)
