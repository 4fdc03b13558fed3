"""The file operations that claims and exit records rest on, apart from what they are used for.

Which of them a record needs, and in which order, is the spool's to say; a stand-in that keeps a
journal of the calls can then play every power cut through.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from intendant.process.diskpoints import disk_point


class Disk:
    """Files and folders of their owner alone. Nothing is on disk before `sync…` returned."""

    def make_folder(self, path: Path) -> None:
        """A folder, unless it is there."""
        disk_point(needs_room=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)

    def create(self, path: Path) -> int:
        """A new file; `FileExistsError` if the name is taken."""
        disk_point(needs_room=True)
        return _open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def open(self, path: Path) -> int:
        """A file to write, made if it is not there."""
        return _open(path, os.O_WRONLY | os.O_CREAT)

    def reserve(self, descriptor: int, size_bytes: int) -> None:
        """Room in a file, so that writing so much can't fail for want of it."""
        disk_point(needs_room=True)
        os.posix_fallocate(descriptor, 0, size_bytes)

    def write(self, descriptor: int, data: bytes) -> None:
        """Make `data` all that the file holds."""
        disk_point()
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], written)
        os.ftruncate(descriptor, len(data))

    def link(self, path: Path, name: Path) -> None:
        """A second name; `FileExistsError` if it is taken (link(2))."""
        disk_point(needs_room=True)
        os.link(path, name)

    def rename(self, path: Path, name: Path) -> None:
        """Another name, in the place of whatever had it (rename(2))."""
        disk_point()
        path.rename(name)

    def remove(self, path: Path) -> None:
        """Take a name away."""
        path.unlink()

    def sync(self, descriptor: int) -> None:
        """Put a file's content on disk."""
        disk_point()
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Put the names in a folder on disk (fsync(2): the file's own fsync does not)."""
        with closing(_open(path, os.O_RDONLY | os.O_DIRECTORY)) as descriptor:
            os.fsync(descriptor)


DISK = Disk()


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """The descriptor, closed at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def put_file(path: Path, data: bytes) -> None:
    """A file on disk, whole or not at all, in the place of whatever had its name."""
    draft = path.with_name(f".{path.name}.new")
    with closing(DISK.open(draft)) as descriptor:
        DISK.write(descriptor, data)
        DISK.sync(descriptor)
    DISK.rename(draft, path)
    DISK.sync_folder(path.parent)


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
