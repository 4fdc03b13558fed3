"""The broker's end of one connection over a socket of this machine."""

from __future__ import annotations

import asyncio
import select
import socket as unix
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from intendant.broker import zmtp
from intendant.broker.services import Frames, Message, Peer, Unsent
from intendant.errors import ProtocolError
from intendant.protocol import mdp

CHUNK_BYTES = 65_536
PASSED_ON_AT_ONCE = 64
"""Messages of one peer before the others have a turn."""

OnMessages = Callable[[Sequence[Message]], None]

log = structlog.get_logger()


class UnixConnection:
    """Reads what a peer says and passes it on; sends at once, or as soon as the peer reads."""

    def __init__(
        self,
        channel: unix.socket,
        peer: Peer,
        high_water_mark: int,
        on_messages: OnMessages,
        on_closed: Callable[[UnixConnection], None],
    ) -> None:
        self.peer = peer
        self._socket = channel
        self._high_water_mark = high_water_mark
        self._on_messages = on_messages
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._decoder = zmtp.Decoder(max_frame_bytes=mdp.MAX_FRAME_BYTES)
        self._unsent: deque[bytes | memoryview] = deque()
        self._is_closed = False

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is done."""
        return self._decoder.is_ready

    def open(self) -> None:
        """Begin to speak and to listen."""
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket.fileno(), self._on_readable)
        self._put(zmtp.ROUTER_OPENING)

    def send(self, frames: Frames) -> Unsent | None:
        """Send all of a message, now or later, or nothing.

        That a peer is gone is found where its last words have been read.
        """
        try:
            return self._put(zmtp.encode(frames))
        except MemoryError:  # there is no room for it now
            return Unsent.FULL

    def flush(self, deadline: float) -> None:
        """Wait until what was sent has left, or for the time to be over."""
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        while self._unsent and (left_s := deadline - time.monotonic()) > 0:
            poll.poll(1000 * left_s)
            self.send_waiting()

    def close(self) -> None:
        """Close the socket; nothing more is read. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        self._on_closed(self)

    def _lose(self) -> None:
        """The peer is gone, or speaks another language."""
        if not self._is_closed:
            self.close()
            self._on_messages([(self.peer, None)])

    # --- reading ---------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            if not (data := self._socket.recv(CHUNK_BYTES)):
                self._lose()
                return
            messages = self._decoder.feed(data)
        except BlockingIOError:
            return
        except (OSError, ProtocolError, MemoryError) as error:
            log.debug("connection_ended", account=self.peer.account, error=str(error))
            self._lose()
            return
        if self._decoder.answers:
            self._put(self._decoder.take_answers())
        if len(messages) > PASSED_ON_AT_ONCE:
            self._loop.remove_reader(self._socket.fileno())
            self._pass_on(messages, 0)
        elif messages:
            self._on_messages([self._message(frames) for frames in messages])

    def _pass_on(self, messages: list[list[bytes]], start: int) -> None:
        """Some of many; the others have a turn before the rest."""
        if self._is_closed:
            return
        end = start + PASSED_ON_AT_ONCE
        if end < len(messages):
            self._loop.call_soon(self._pass_on, messages, end)
        else:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
        self._on_messages([self._message(frames) for frames in messages[start:end]])

    def _message(self, frames: list[bytes]) -> Message:
        """One with too many frames has none."""
        return self.peer, frames if len(frames) <= mdp.MAX_FRAMES else []

    # --- writing ---------------------------------------------------------------------------------

    def _put(self, data: bytes) -> Unsent | None:
        if self._unsent:
            if len(self._unsent) >= self._high_water_mark:
                return Unsent.FULL
            self._unsent.append(data)
            return None
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return Unsent.FULL
        if sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
            self._loop.add_writer(self._socket.fileno(), self.send_waiting)
        return None

    def send_waiting(self) -> None:
        """Send of what waits what the peer takes now."""
        try:
            while self._unsent:
                data = self._unsent[0]
                sent = self._socket.send(data)
                if sent < len(data):
                    self._unsent[0] = memoryview(data)[sent:]
                    return
                self._unsent.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        self._loop.remove_writer(self._socket.fileno())
