"""The line between a governor and the executor that had it launched: the socket of its birth.

When it has its order (`birth`) either side asks and the other one answers, a packet each
(SOCK_SEQPACKET), by the number of the question:

    executor ─── ?0 start ─────▶ governor
    executor ◀── !0 started ──── governor
    executor ◀── ?0 finished ─── governor
    executor ─── !0 recorded ──▶ governor

The line lasts as long as both processes. A governor that finds it closed has outlived the daemon
that launched it; the bus leads to the next one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count

SEEN = b"seen"
"""Said at the birth to a governor that is pinned down."""
WORD_BYTES = 96 * 1024
"""The longest question that fits here; a longer one has to go another way."""
_PACKET_BYTES = WORD_BYTES + 32

Reply = Callable[[bytes], None]
"""Answers a question, now or later; harmless where nobody is left to hear it."""


class Line:
    """One end of it. Close it."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._asked: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._is_closed = False

    def hear(
        self, on_question: Callable[[bytes, Reply], None], on_closed: Callable[[], None]
    ) -> None:
        """Take what the other side says, from now on."""
        self._on_question, self._on_closed = on_question, on_closed
        self._loop.add_reader(self._end, self._on_readable)

    async def ask(self, question: bytes) -> bytes | None:
        """The other side's answer, as long as it may take.

        `None` where it can't be had here: the question is too long, the other side has long not
        read, or is not there any more.
        """
        if self._is_closed or len(question) > WORD_BYTES:
            return None
        number = b"%d" % next(self._numbers)
        answer: asyncio.Future[bytes | None] = self._loop.create_future()
        self._asked[number] = answer
        try:
            self._end.send(b"?%b %b" % (number, question))  # a packet goes as a whole or not at all
            return await answer
        except OSError:
            return None
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Let it go; idempotent. Who waits for an answer gets none."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._end)
            self._end.close()
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_result(None)

    def _on_readable(self) -> None:
        try:
            packet = self._end.recv(_PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        head, _, word = packet.partition(b" ")
        if head.startswith(b"?"):
            self._on_question(word, partial(self._reply, head[1:]))
        elif head.startswith(b"!"):
            answer = self._asked.get(head[1:])
            if answer is not None and not answer.done():
                answer.set_result(word)
        else:
            self.close()
            self._on_closed()

    def _reply(self, number: bytes, word: bytes) -> None:
        if not self._is_closed:
            with suppress(OSError):
                self._end.send(b"!%b %b" % (number, word))
