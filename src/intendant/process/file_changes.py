"""Hearing of what happens to the files in a folder (inotify(7))."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asyncinotify import Inotify, Mask

_closer = ThreadPoolExecutor(1, thread_name_prefix="inotify")
"""To close one takes the kernel 15 to 25 ms (fsnotify has a grace period): no loop waits for it."""


class FileChanges:
    """Watches one folder from its creation on until it is closed."""

    def __init__(self, folder: Path) -> None:
        self._inotify = Inotify()
        self.watch_folder(folder)

    def watch_folder(self, folder: Path) -> None:
        """Watch this folder too; once more changes nothing. `FileNotFoundError` if it is not."""
        self._inotify.add_watch(
            folder, Mask.MODIFY | Mask.CREATE | Mask.CLOSE_WRITE | Mask.MOVED_TO
        )

    def watch_file(self, path: Path) -> None:
        """Watch one file too, until it is renamed or removed; `FileNotFoundError` if it is not."""
        self._inotify.add_watch(path, Mask.MODIFY)

    async def wait_change(self) -> None:
        """Return once something has changed since the last return (or since the start)."""
        await self._inotify.get()

    async def wait_written(self, name: str) -> None:
        """Return once the file of this name was written to since the last return."""
        while True:
            event = await self._inotify.get()
            if event.mask & Mask.MODIFY and event.name is not None and event.name.name == name:
                return

    def __enter__(self) -> FileChanges:
        return self

    def __exit__(self, *_: object) -> None:
        _closer.submit(self._inotify.close)
