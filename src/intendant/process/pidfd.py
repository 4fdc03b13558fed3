"""Waiting for the end of a process, ours or not, without polling and without SIGCHLD."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress

from intendant.process.identity import exit_code


class Pidfd:
    """One process, pinned down. Close it, or use it as a context manager."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waiting: set[asyncio.Future[None]] = set()
        """Who waits for its end. They share one reader: a wait takes no descriptor of its own."""

    async def wait_exit(self) -> None:
        """Return once the process has ended (a pidfd becomes readable then, pidfd_open(2)).

        `OSError` (EBADF) if it is closed, or is while somebody waits.
        """
        await self.exited()

    def exited(self) -> asyncio.Future[None]:
        """The same as a future; cancel it to wait no longer."""
        if self.descriptor < 0:
            raise _closed()
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        if not self._waiting:
            loop.add_reader(self.descriptor, self._on_exit)
        self._waiting.add(ended)
        ended.add_done_callback(self._forget)
        return ended

    def _forget(self, ended: asyncio.Future[None]) -> None:
        self._waiting.discard(ended)
        if not self._waiting and self.descriptor >= 0:
            ended.get_loop().remove_reader(self.descriptor)

    def _on_exit(self) -> None:
        for ended in self._waiting:
            if not ended.done():
                ended.set_result(None)

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
        for ended in self._waiting:
            ended.get_loop().remove_reader(self.descriptor)
            if not ended.done():
                ended.set_exception(_closed())
        if self.descriptor >= 0:
            with suppress(OSError):
                os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Pidfd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _closed() -> OSError:
    return OSError(errno.EBADF, "the pidfd is closed")
