"""What /proc tells of a process."""

from __future__ import annotations

import signal


def settable(mask: int) -> set[int]:
    """The signals of a /proc mask that a program can set.

    The C library keeps two for its threads (nptl(7)), and its posix_spawn(3) leaves them ignored
    in the child: a test runner started that way hands them to everything below it.
    """
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}
