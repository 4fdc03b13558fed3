"""Signals that are read from a descriptor and not handled: signalfd(2).

Whoever has no handlers leaves none to what it forks, which would have to take them back.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable

_SIGSET_BYTES = 128
_libc = ctypes.CDLL(None, use_errno=True)


def open_signalfd(signums: Iterable[int]) -> int:
    """Block these signals; the descriptor that is readable while one of them waits.

    Forked processes inherit both, and each reads its own signals.
    """
    signums = frozenset(signums)
    signal.pthread_sigmask(signal.SIG_BLOCK, signums)
    mask = ctypes.create_string_buffer(_SIGSET_BYTES)
    _libc.sigemptyset(mask)
    for signum in signums:
        _libc.sigaddset(mask, signum)
    descriptor: int = _libc.signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor
