"""Places where the disk can be made to refuse, for tests of what is made of that.

`INTENDANT_DISK_TROUBLE=FILE`: while that file exists, what is put on disk fails with the error
whose name (errno(3)) is in it, say `EIO` or `EROFS`. `ENOSPC` is only met by what needs new room. A
process reads the variable once; without it a disk point costs one comparison.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

VARIABLE = "INTENDANT_DISK_TROUBLE"


class _Trouble:
    """The file that says what is wrong, read from the environment when first needed."""

    path: Path | None = None
    is_read: bool = False

    def read(self) -> None:
        self.is_read = True
        found = os.environ.get(VARIABLE)
        self.path = Path(found) if found else None


_trouble = _Trouble()


def disk_point(*, needs_room: bool = False) -> None:
    """Raise what the disk would, if that was asked for."""
    if not _trouble.is_read:
        _trouble.read()
    if _trouble.path is None:
        return
    try:
        name = _trouble.path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return
    code = {known: number for number, known in errno.errorcode.items()}[name]
    if code != errno.ENOSPC or needs_room:
        raise OSError(code, os.strerror(code))


def forget_disk_trouble() -> None:
    """Read the variable again: for a process forked from one that had read it."""
    _trouble.is_read = False
