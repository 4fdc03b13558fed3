"""Where a reader of a log is: what it asks for next, and which bytes of an answer are new to it."""

from __future__ import annotations

from collections.abc import Sequence

from intendant.client import wire
from intendant.client.place import Place
from intendant.client.run import Stream
from intendant.errors import ProtocolError


class LogCursor(Place):
    """The place in a run's log: after a lost connection the same bytes neither miss nor repeat."""

    final = "log_response"
    keeps_place = True
    limit = None

    def __init__(
        self,
        selection: list[str],
        *,
        stream: Stream,
        attempt: int | None,
        follow: bool,
        step: str | None = None,
    ) -> None:
        super().__init__(selection)
        self._stream = stream
        self._attempt = attempt
        self._is_free = attempt is None
        self._follow = follow
        self._step = step
        self._offset = 0

    def request(self) -> list[bytes]:
        """Ask for what comes after the bytes taken so far."""
        return wire.request(
            "log_request",
            selection=self.selection,
            stream=self._stream,
            attempt=self._attempt,
            offset=self._offset,
            follow=self._follow,
            step=self._step,
            and_later=(self._is_free and self._attempt is not None) or None,
        )

    def take(self, body: Sequence[bytes]) -> list[bytes]:
        """The new bytes in a PARTIAL: none in a tick, none in what was already taken."""
        chunk = self._part(body, "log_chunk")
        if chunk["kind"] == "stream_tick":
            return []
        attempt, offset, data = _read_chunk(chunk, body)
        if attempt != self._attempt:
            self._attempt, self._offset = attempt, offset
        if offset > self._offset:
            raise ProtocolError(f"the log goes on at byte {offset}; expected {self._offset}")
        new = data[self._offset - offset :]
        self._offset += len(new)
        return [new] if new else []


def _read_chunk(chunk: dict[str, object], body: Sequence[bytes]) -> tuple[int, int, bytes]:
    attempt, offset, size = (chunk.get(name) for name in ("attempt", "offset", "size"))
    if not (isinstance(attempt, int) and isinstance(offset, int)):
        raise ProtocolError(f"the daemon sent a piece of a log without its place: {chunk!r}")
    data = body[1] if len(body) == 2 else b""
    if len(data) != size:
        raise ProtocolError(f"the daemon sent {len(data)} bytes of a log; it spoke of {size!r}")
    return attempt, offset, data
