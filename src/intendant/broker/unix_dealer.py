"""A DEALER over a socket of this machine, without a library: what governors are connected by.

libzmq brings a context, two threads and four sockets to each connection that is watched. That is
two milliseconds and 370 pages of memory at the start of every governor, for a few short messages
over a socket of the kernel's that the loop can watch by itself.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence

from intendant.broker import zmtp
from intendant.broker.dealer import Dealer
from intendant.broker.sockets import ConnectionLost
from intendant.errors import ProtocolError, Unreachable
from intendant.protocol import mdp

_CHUNK_BYTES = 65_536
_MAX_UNSENT_BYTES = 1024 * 1024
"""What may wait to be sent before a message more is refused for now."""
_MAX_UNREAD = 16
"""Messages that may wait to be taken before no more are read."""


class UnixDealer(Dealer):
    """One connection to the broker at a path."""

    def __init__(self, path: str, on_activity: Callable[[], None] | None = None) -> None:
        super().__init__(on_activity)
        self._decoder = zmtp.Decoder(max_frame_bytes=mdp.MAX_FRAME_BYTES)
        self._inbox: deque[list[bytes]] = deque()
        self._unsent = bytearray()
        self._is_reading = False
        self._is_writing = False
        self._is_closed = False
        self._socket = _make_socket()
        try:
            self._socket.connect(path)
            self._socket.send(zmtp.OPENING)  # fits into any socket's buffer
        except OSError as error:
            if error.errno is None:  # no system call failed: the path is longer than one can be
                self._socket.close()
                raise Unreachable(f"ipc://{path} can't be connected to: {error}") from error
            self.lost = True  # nobody is there (any more), or too many: to be tried again
        else:
            self._read_on()

    def send_nowait(self, frames: Sequence[bytes]) -> bool:
        """Whether `frames` could be taken on; they leave as soon as the broker reads them."""
        if self.lost or len(self._unsent) > _MAX_UNSENT_BYTES:
            return False
        self._unsent += zmtp.encode(frames)
        if self.connected:  # libzmq hangs up on who says more than READY before it has
            self._write()
        return not self.lost

    def receive_nowait(self) -> list[bytes] | None:
        """The next message; `None` when there is none yet."""
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        self._read_on()
        return message

    def poke(self) -> None:
        """Tell those who wait to look again."""
        if not self._is_closed:
            self._notify()

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket, after what was sent has left or `linger_ms` have passed; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_reading()
        if self._is_writing and linger_ms and not self.lost:
            self._loop.call_later(linger_ms / 1000, self._shut)
        else:
            self._shut()
        self.give_up()

    def _shut(self) -> None:
        self._stop_writing()
        self._socket.close()

    # --- reading ---------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(_CHUNK_BYTES)
            self._inbox.extend(self._decoder.feed(data))
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            data = b""
        if not data:
            self._lose()
        elif len(self._inbox) >= _MAX_UNREAD:
            self._stop_reading()
        if self._decoder.is_ready and not self.connected:
            self.connected = True
            self._write()
        if self._decoder.answers and not self.lost:
            self._unsent += self._decoder.take_answers()
            self._write()
        self._notify()

    def _read_on(self) -> None:
        if not (self._is_reading or self.lost) and len(self._inbox) < _MAX_UNREAD:
            self._is_reading = True
            self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def _stop_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._socket.fileno())

    # --- writing ---------------------------------------------------------------------------------

    def _write(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._lose()
            return
        if not self._unsent:
            self._stop_writing()
        elif not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._write()
        if self._is_closed and not self._is_writing:
            self._shut()
        else:
            self._notify()

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._socket.fileno())

    def _lose(self) -> None:
        self.lost = True
        self._stop_reading()
        self._stop_writing()


def _make_socket() -> socket.socket:
    """One that never blocks; `ConnectionLost` while no descriptor is to be had."""
    try:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(f"no socket is to be had: {error}") from error
    found.setblocking(False)
    return found
