"""ZMTP 3.0 (RFC 23) as it is spoken over a socket of this machine: bytes in, messages out.

    greeting   signature, version, mechanism NULL        64 bytes, each side
    READY      a command frame with the socket's type    each side
    messages   frames: flags, size, body

Greeting and READY of this side need no answer, so they leave in one piece. What a peer asks by
PING, as libzmq may be told to (RFC 37), is answered, though that is younger than 3.0.
"""

from __future__ import annotations

from collections.abc import Sequence

from intendant.errors import ProtocolError
from intendant.protocol import mdp

_GREETING_BYTES = 64
_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = b"NULL".ljust(20, b"\0")
_MORE, _LONG, _COMMAND = 1, 2, 4
_SHORT_BYTES = 255
_SHORT_HEAD_BYTES, _LONG_HEAD_BYTES = 2, 9
_PING_TTL_BYTES = 2
_PING_CONTEXT_BYTES = 16
"""RFC 37, section 3.4."""
MAX_MESSAGE_BYTES = (mdp.MAX_FRAMES + 4) * mdp.MAX_FRAME_BYTES
"""A client's largest message, and what the broker puts before it."""
_MAX_FRAMES = 100_000
"""Of a message that has not ended yet; what is too many for us is said elsewhere."""


def _command(name: bytes, body: bytes) -> bytes:
    data = bytes([len(name)]) + name + body
    return bytes([_COMMAND, len(data)]) + data


def _property(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value


def _opening(socket_type: bytes) -> bytes:
    properties = _property(b"Socket-Type", socket_type) + _property(b"Identity", b"")
    return _SIGNATURE + b"\x03\x00" + _MECHANISM + bytes(32) + _command(b"READY", properties)


OPENING = _opening(b"DEALER")
"""What a DEALER says when it is connected."""
ROUTER_OPENING = _opening(b"ROUTER")
"""What a ROUTER says to who has connected."""


def encode(frames: Sequence[bytes]) -> bytes:
    """One message."""
    parts: list[bytes] = []
    flags, left = _MORE, len(frames)
    for frame in frames:
        left -= 1
        if not left:
            flags = 0
        size = len(frame)
        if size <= _SHORT_BYTES:
            parts.append(bytes((flags, size)))
        else:
            parts.append(bytes((flags | _LONG,)) + size.to_bytes(8, "big"))
        parts.append(frame)
    return b"".join(parts)


class Decoder:
    """The other side's bytes, taken apart. `ProtocolError` for what is no ZMTP with NULL."""

    def __init__(self, *, max_frame_bytes: int) -> None:
        self.is_ready = False
        """Whether the other side has said READY."""
        self.answers: list[bytes] = []
        """Commands to be sent back: see `take_answers`."""
        self._max_frame_bytes = max_frame_bytes
        self._is_greeted = False
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._wanted_bytes = _GREETING_BYTES
        """Nothing can be made of fewer unread bytes; 0: there are none."""
        self._frames: list[bytes] = []
        self._frames_bytes = 0

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The messages that are complete with `data`."""
        if self._wanted_bytes:
            self._unread.append(data)
            self._unread_bytes += len(data)
            if self._unread_bytes < self._wanted_bytes:
                return []
            data = b"".join(self._unread)
        messages, end = self._take_apart(data, 0 if self._is_greeted else self._greet(data))
        rest = data[end:]
        self._unread, self._unread_bytes = [rest] if rest else [], len(rest)
        return messages

    def take_answers(self) -> bytes:
        """What is to be sent back, once."""
        answers, self.answers = self.answers, []
        return b"".join(answers)

    def _greet(self, data: bytes) -> int:
        """Check the greeting; where it ends."""
        is_ours = data[0] == 0xFF and data[9] & 1 and data[10] >= 3
        if not is_ours or data[12:32] != _MECHANISM:
            raise ProtocolError(
                f"expected a greeting of ZMTP 3 with NULL, found {data[:_GREETING_BYTES]!r}"
            )
        self._is_greeted = True
        return _GREETING_BYTES

    def _take_apart(self, data: bytes, place: int) -> tuple[list[list[bytes]], int]:
        """The messages from there on, and where the frame begins that is not complete."""
        messages: list[list[bytes]] = []
        size = len(data)
        while (start := place + _SHORT_HEAD_BYTES) <= size:
            flags, end = data[place], start + data[place + 1]
            if flags & _LONG:
                start = place + _LONG_HEAD_BYTES
                if start > size:
                    break
                end = start + self._long_size(data[place + 1 : start])
            if end > size:
                start = end
                break
            if flags & _COMMAND:
                self._obey(data[start:end])
            else:
                self._frames.append(data[start:end])
                if not flags & _MORE:
                    messages.append(self._finished())
            place = end
        if self._frames:
            self._check_unfinished(place)
        self._wanted_bytes = start - place if place < size else 0
        return messages, place

    def _long_size(self, told: bytes) -> int:
        size = int.from_bytes(told, "big")
        if size > self._max_frame_bytes:
            raise ProtocolError(f"expected at most {self._max_frame_bytes} bytes, found {size}")
        return size

    def _check_unfinished(self, size: int) -> None:
        """Refuse a message that comes too early or never ends; `size` bytes more were read."""
        if not self.is_ready:
            raise ProtocolError("found a message before READY")
        self._frames_bytes += size
        if self._frames_bytes > MAX_MESSAGE_BYTES or len(self._frames) > _MAX_FRAMES:
            raise ProtocolError(f"expected a message's end after {MAX_MESSAGE_BYTES} bytes")

    def _finished(self) -> list[bytes]:
        if not self.is_ready:
            raise ProtocolError("found a message before READY")
        frames, self._frames, self._frames_bytes = self._frames, [], 0
        return frames

    def _obey(self, body: bytes) -> None:
        """A command: READY, PING; others say nothing to us who never asked for more."""
        name = body[1 : 1 + body[0]] if body else b""
        if name == b"READY":
            self.is_ready = True
        elif name == b"ERROR" or not self.is_ready:
            raise ProtocolError(f"expected READY, found {body[:_GREETING_BYTES]!r}")
        elif name == b"PING":
            context = body[1 + len(name) + _PING_TTL_BYTES :]
            if len(context) > _PING_CONTEXT_BYTES:
                most = _PING_CONTEXT_BYTES
                raise ProtocolError(f"expected at most {most} bytes with a PING: {len(context)}")
            self.answers.append(_command(b"PONG", context))
