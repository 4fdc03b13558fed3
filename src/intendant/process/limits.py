"""What a process may take: many open files for the daemon, what was set before for its runs."""

from __future__ import annotations

import resource
from contextlib import suppress

_inherited = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The limits that this process was started with, read when it imports this module."""


def raise_file_limit() -> None:
    """Let this process open as many files as the system lets it."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_inherited[1], _inherited[1]))


def limit_memory(size_bytes: int) -> None:
    """End this process rather than let it grow beyond that (setrlimit(2): RLIMIT_AS).

    What C code can't allocate then aborts it; what Python can't raises MemoryError.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size_bytes if hard == resource.RLIM_INFINITY else min(size_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def restore_file_limit(pid: int) -> None:
    """Give a child the limits from before: programs that use select(2) rely on a low one."""
    with suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _inherited)
