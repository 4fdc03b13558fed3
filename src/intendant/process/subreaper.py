"""Being the one to whom orphaned descendants come (prctl(2): PR_SET_CHILD_SUBREAPER)."""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> bool:
    """Take in orphaned descendants from now on; False where the system knows no such thing."""
    if sys.platform != "linux":
        return False
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return True
