"""The socket that a governor is born with: what it tells the executor that had it launched.

    its birth and its order (`birth`)
    governor ── end ────▶ executor     its last word
    governor ◀── answer ─ executor     the end is on disk

Each is one packet (SOCK_SEQPACKET). The socket lasts as long as the executor's process: a governor
that finds it closed has outlived the daemon that launched it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

SEEN = b"seen"
"""Said to a governor that is pinned down."""
END_BYTES = 16 * 1024
"""The longest last word that fits here; a longer one has to go another way."""
_ANSWER_BYTES = 4096


async def tell_end(report: socket.socket, word: bytes) -> bytes | None:
    """The executor's answer to a governor's last word; `None` where it can't be told here.

    Waits as long as it takes.
    """
    if len(word) > END_BYTES:
        return None
    loop = asyncio.get_running_loop()
    report.setblocking(False)
    try:
        await loop.sock_sendall(report, word)
        answer = await loop.sock_recv(report, _ANSWER_BYTES)
    except OSError:
        return None
    return answer or None


class ReportEnd:
    """The executor's end of it: `on_word` gets the last word, once. Close it."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report
        self._is_heard = False

    def hear(self, on_word: Callable[[bytes], None]) -> None:
        """Call `on_word` when the last word comes; the loop has to run."""
        self._is_heard = True
        asyncio.get_running_loop().add_reader(self._report, self._on_readable, on_word)

    def answer(self, answer: bytes) -> None:
        """Answer it; a governor that has gone meanwhile needs none."""
        with suppress(OSError):
            self._report.send(answer)

    def close(self) -> None:
        """Let it go; idempotent."""
        self._stop_hearing()
        self._report.close()

    def _on_readable(self, on_word: Callable[[bytes], None]) -> None:
        self._stop_hearing()
        with suppress(OSError):
            if word := self._report.recv(END_BYTES):
                on_word(word)

    def _stop_hearing(self) -> None:
        if self._is_heard:
            self._is_heard = False
            asyncio.get_running_loop().remove_reader(self._report)
