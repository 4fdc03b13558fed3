"""ZMTP 3.0 (RFC 23) as a DEALER speaks it over a socket of this machine: bytes in, messages out.

    greeting   signature, version, mechanism NULL        64 bytes, each side
    READY      a command frame with the socket's type    each side
    messages   frames: flags, size, body

Greeting and READY of this side need no answer, so they leave in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence

from intendant.errors import ProtocolError

_GREETING_BYTES = 64
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = b"NULL".ljust(20, b"\0")
_MORE, _LONG, _COMMAND = 1, 2, 4
_SHORT_BYTES = 255


def _command(name: bytes, body: bytes) -> bytes:
    data = bytes([len(name)]) + name + body
    return bytes([_COMMAND, len(data)]) + data


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


OPENING = (
    _SIGNATURE + b"\x03\x00" + _MECHANISM + bytes(32)
    + _command(b"READY", _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""))
)  # fmt: skip
"""What a DEALER says when it is connected."""


def encode(frames: Sequence[bytes]) -> bytes:
    """One message."""
    parts: list[bytes] = []
    for number, frame in enumerate(frames, start=1):
        flags = _MORE if number < len(frames) else 0
        if len(frame) <= _SHORT_BYTES:
            parts += (bytes((flags, len(frame))), frame)
        else:
            parts += (bytes((flags | _LONG,)), len(frame).to_bytes(8, "big"), frame)
    return b"".join(parts)


class Decoder:
    """The other side's bytes, taken apart. `ProtocolError` for what is no ZMTP with NULL."""

    def __init__(self, *, max_frame_bytes: int) -> None:
        self.is_ready = False
        """Whether the other side has said READY."""
        self._max_frame_bytes = max_frame_bytes
        self._is_greeted = False
        self._unread = bytearray()
        self._frames: list[bytes] = []

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The messages that are complete with `data`."""
        self._unread += data
        if not self._is_greeted:
            if len(self._unread) < _GREETING_BYTES:
                return []
            self._greet(bytes(self._unread[:_GREETING_BYTES]))
            del self._unread[:_GREETING_BYTES]
        messages: list[list[bytes]] = []
        end = 0
        while (found := self._frame_at(end)) is not None:
            flags, start, end = found
            body = bytes(self._unread[start:end])
            if flags & _COMMAND:
                self._obey(body)
                continue
            if not self.is_ready:
                raise ProtocolError("found a message before READY")
            self._frames.append(body)
            if not flags & _MORE:
                messages.append(self._frames)
                self._frames = []
        del self._unread[:end]
        return messages

    def _greet(self, greeting: bytes) -> None:
        is_ours = greeting[0] == 0xFF and greeting[9] & 1 and greeting[10] >= 3
        if not is_ours or greeting[12:32] != _MECHANISM:
            raise ProtocolError(f"expected a greeting of ZMTP 3 with NULL, found {greeting!r}")
        self._is_greeted = True

    def _obey(self, body: bytes) -> None:
        """A command: READY; others say nothing to us who never asked for more than messages."""
        name = body[1 : 1 + body[0]] if body else b""
        if name == b"READY":
            self.is_ready = True
        elif name == b"ERROR" or not self.is_ready:
            raise ProtocolError(f"expected READY, found {body!r}")

    def _frame_at(self, place: int) -> tuple[int, int, int] | None:
        """Flags of the frame there, start and end of its body; `None` while it is not complete."""
        unread = self._unread
        if len(unread) < place + 2:
            return None
        flags, size, start = unread[place], unread[place + 1], place + 2
        if flags & _LONG:
            start = place + 9
            if len(unread) < start:
                return None
            size = int.from_bytes(unread[place + 1 : start], "big")
            if size > self._max_frame_bytes:
                raise ProtocolError(f"expected at most {self._max_frame_bytes} bytes, found {size}")
        end = start + size
        return (flags, start, end) if end <= len(unread) else None
