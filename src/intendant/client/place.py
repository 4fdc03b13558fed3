"""The runs that a stream is about, whatever it tells of them."""

from __future__ import annotations

from collections.abc import Sequence

from intendant.client import wire


class Place:
    """What every reading keeps: asked for again, it is still about the same runs."""

    def __init__(self, selection: list[str]) -> None:
        self.selection = selection

    def _part(self, body: Sequence[bytes], kind: str) -> dict[str, object]:
        """A PARTIAL of this kind, or a tick. The first one says which run `last` is."""
        message = wire.response(body, kind, "stream_tick")
        if isinstance(last := message.get("last"), int):
            from intendant.protocol.selectors import with_last

            self.selection = with_last(self.selection, last)
        return message
