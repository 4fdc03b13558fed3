"""The lock that keeps a second daemon out of a folder.

flock(2) belongs to the open file, so the kernel frees it however the holder dies. The pid in the
file is for people; only the lock decides.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from intendant.errors import FolderLocked, StoreError

LOCK_NAME = "daemon.lock"
_PID_BYTES = 32


@dataclass(slots=True)
class FolderLock:
    """A held lock; freed on `release`, at the end of the `with` block, or with the process."""

    path: Path
    _descriptor: int | None

    def release(self) -> None:
        """Let the folder go; harmless when it is free already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def lock_folder(path: Path) -> FolderLock:
    """The lock of the folder `path`, which must exist; `FolderLocked` names who has it."""
    file = path / LOCK_NAME
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StoreError(f"{file} can't be opened: {error.strerror}") from error
    try:
        _take(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return FolderLock(file, descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FolderLocked(f"{folder} is in use by {_holder(descriptor)}") from None
    except OSError as error:
        raise StoreError(f"{folder} can't be locked: {error.strerror}") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def _holder(descriptor: int) -> str:
    pid = os.pread(descriptor, _PID_BYTES, 0).strip()
    return f"a daemon with pid {pid.decode()}" if pid.isdigit() else "another daemon"
