"""Announces what changes in folders, among them such as do not exist yet."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from asyncinotify import Inotify, Mask, Watch

logger = logging.getLogger(__name__)

_MASK = (
    Mask.CREATE
    | Mask.CLOSE_WRITE
    | Mask.MOVED_TO
    | Mask.MOVED_FROM
    | Mask.DELETE
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
    | Mask.ONLYDIR
)


class FolderWatch:
    """Calls back with the name of what changed in a folder.

    The name is empty where everything may have changed: the folder came or went, or the kernel's queue ran over. A
    folder that does not exist is awaited at its nearest ancestor that does.
    """

    def __init__(self, callbacks: Mapping[Path, Callable[[str], None]]) -> None:
        self._callbacks = {folder.absolute(): callback for folder, callback in callbacks.items()}
        self._armed: dict[Path, Watch] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        with Inotify() as inotify:
            self._arm(inotify)
            async for event in inotify:
                if Mask.Q_OVERFLOW in event.mask:
                    self._ring_all()
                    continue
                folder = None if event.watch is None else event.watch.path
                callback = None if folder is None else self._callbacks.get(folder)
                if folder is not None and event.mask & (Mask.IGNORED | Mask.MOVE_SELF):
                    self._disarm(inotify, folder, gone=Mask.IGNORED in event.mask)
                    if callback is not None:
                        callback("")
                elif callback is not None and event.name is not None:
                    callback(event.name.name)
                if self._callbacks.keys() - self._armed.keys():
                    self._arm(inotify)

    def _arm(self, inotify: Inotify) -> None:
        for folder, callback in self._callbacks.items():
            while folder not in self._armed:
                nearest = next(each for each in (folder, *folder.parents) if each.is_dir())
                if nearest in self._armed:
                    break
                try:
                    self._armed[nearest] = inotify.add_watch(nearest, _MASK)
                except FileNotFoundError:
                    continue
                # What happened before the watch stood was not announced; nor was a folder made below its ancestor.
                callback("")
        if self._callbacks.keys() <= self._armed.keys():
            for ancestor in self._armed.keys() - self._callbacks.keys():
                self._disarm(inotify, ancestor, gone=False)

    def _disarm(self, inotify: Inotify, folder: Path, *, gone: bool) -> None:
        watch = self._armed.pop(folder, None)
        if watch is not None and not gone:
            inotify.rm_watch(watch)

    def _ring_all(self) -> None:
        for callback in self._callbacks.values():
            callback("")
