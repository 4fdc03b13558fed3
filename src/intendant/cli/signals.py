"""Signals to `intendant run`: events for the main thread; nothing holds up a second one."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

from intendant.cli import exit_status
from intendant.cli.inbox import Inbox, Interrupted
from intendant.client.embedded import EmbeddedDaemon
from intendant.errors import SupervisionError

FORWARDED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,  # to a daemon it means: read the settings again
}
PASSED_ON_S = 1.0
"""How long the main thread has to pass a second signal on."""
KILLED_S = 10.0
"""How long a daemon has that was told to kill its runs: twice what it takes for that."""
LAST_WORDS_S = 1.0


class Signals:
    """While it is entered, a signal is an event.

    After a second one this process ends, whatever becomes of the event: the main thread may be
    writing to a terminal that was stopped, or to a pipe that nobody reads.
    """

    def __init__(self, inbox: Inbox, daemon: EmbeddedDaemon) -> None:
        self._inbox = inbox
        self._count = 0
        self._daemon = daemon

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in FORWARDED}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own
        self._inbox.put(Interrupted(number))
        self._count += 1
        if self._count == 2:
            threading.Thread(target=self._end, args=(number,), name="end", daemon=True).start()

    def _end(self, number: int) -> None:
        """The end of this process, unless the main thread comes to its own before."""
        with suppress(SupervisionError):  # it was not started yet
            if self._daemon.ended(within_s=PASSED_ON_S) is None:
                for _ in range(2):
                    self._daemon.send_signal(FORWARDED[signal.Signals(number)])
                self._daemon.ended(within_s=KILLED_S)
            threading.Event().wait(LAST_WORDS_S)
        self._daemon.abandon()
        os._exit(exit_status.SIGNALLED + number)
