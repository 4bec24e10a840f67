"""Reports changes in folders by inotify, also in folders that do not exist yet."""

import contextlib
import errno
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from asyncinotify import Inotify, Mask, Watch

from subfunction.errors import FolderError

_LOG = logging.getLogger(__name__)

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

_LIMITS = {errno.EMFILE: "fs.inotify.max_user_instances", errno.ENOSPC: "fs.inotify.max_user_watches"}
"""The sysctl behind an errno; 128 instances a user is the usual limit, shared with all other processes of root."""


class DirectoryWatch:
    """Calls back with the name of the file that changed in a folder.

    The name is empty where every file may have changed: the folder appeared or went away, or the kernel's queue
    overflowed. For a folder that does not exist its nearest existing ancestor is watched. `inotify` opens the
    kernel's queue.
    """

    def __init__(
        self, callbacks: Mapping[Path, Callable[[str], None]], *, inotify: Callable[[], Inotify] = Inotify
    ) -> None:
        self._inotify = inotify
        self._callbacks = {folder.absolute(): callback for folder, callback in callbacks.items()}
        self._armed: dict[Path, Watch] = {}

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            FolderError: the kernel refuses; most often the node has reached a limit, which the hint names.
        """
        try:
            opened = self._inotify()
        except OSError as error:
            raise _watch_error(next(iter(self._callbacks)), error) from error
        with opened as inotify:
            self._arm(inotify)
            async for event in inotify:
                if Mask.Q_OVERFLOW in event.mask:
                    self._notify_all()
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
                try:
                    nearest = next(each for each in (folder, *folder.parents) if each.is_dir())
                    if nearest in self._armed:
                        break
                    self._armed[nearest] = inotify.add_watch(nearest, _MASK)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _watch_error(folder, error) from error
                # Changes before the watch existed were not reported, nor was a folder made below its ancestor.
                callback("")
        if self._callbacks.keys() <= self._armed.keys():
            for ancestor in self._armed.keys() - self._callbacks.keys():
                self._disarm(inotify, ancestor, gone=False)

    def _disarm(self, inotify: Inotify, folder: Path, *, gone: bool) -> None:
        watch = self._armed.pop(folder, None)
        if watch is not None and not gone:
            # The kernel may have ended the watch already: the folder was moved, then removed; that event is to come.
            with contextlib.suppress(OSError):
                inotify.rm_watch(watch)

    def _notify_all(self) -> None:
        for callback in self._callbacks.values():
            callback("")


def _watch_error(folder: Path, error: OSError) -> FolderError:
    words = error.strerror or str(error)
    limit = _LIMITS.get(error.errno or 0)
    hint = f"See `ls -ld {folder}`." if limit is None else f"See `sysctl {limit}`; raise it with `sysctl -w {limit}=N`."
    return FolderError(f"cannot watch {folder}: {words}", hint=hint)
