"""Waiting for the end of a process, ours or not, without polling and without SIGCHLD."""

from __future__ import annotations

import os
from contextlib import suppress

from intendant.process.identity import exit_code
from intendant.process.readiness import wait_readable


class Pidfd:
    """One process, pinned down. Close it, or use it as a context manager."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def wait_exit(self) -> None:
        """Return once the process has ended (a pidfd becomes readable then, pidfd_open(2))."""
        # A descriptor of its own: several may wait for one process, a loop takes one reader each.
        descriptor = os.dup(self.descriptor)
        try:
            await wait_readable(descriptor)
        finally:
            os.close(descriptor)

    def reap(self) -> int | None:
        """The exit status of an ended child as `os.waitstatus_to_exitcode` gives it.

        `None` where it is no child of ours (any more), or has not ended.
        """
        try:
            found = os.waitid(os.P_PIDFD, self.descriptor, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return None
        return None if found is None else exit_code(found)

    def close(self) -> None:
        """Let the process go; harmless the second time."""
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Pidfd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
