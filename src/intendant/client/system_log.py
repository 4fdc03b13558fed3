"""Where a reader of the system log is: what it asks for next, what of an answer is new to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from intendant.client import wire
from intendant.client.place import Place
from intendant.client.shapes import LogLineInfo


class SystemLogCursor(Place):
    """The place in the log is a moment: after a lost connection its lines come again."""

    final = "system_log_response"
    keeps_place = True
    limit = None

    def __init__(self, selection: list[str], *, level: str, follow: bool) -> None:
        super().__init__(selection)
        self._level = level
        self._follow = follow
        self._moment: str | None = None
        self._of_the_moment: set[tuple[str, str]] = set()

    def request(self) -> list[bytes]:
        """Ask for what was logged since the last line taken, its moment included."""
        return wire.request(
            "system_log_request",
            selection=self.selection or None,
            level=self._level,
            after=self._moment,
            follow=self._follow,
        )

    def take(self, body: Sequence[bytes]) -> list[LogLineInfo]:
        """The new lines in a PARTIAL: none in a tick."""
        message = self._part(body, "system_log_batch")
        lines = cast(list[LogLineInfo], message.get("lines", []))
        return [line for line in lines if self._is_new(line)]

    def _is_new(self, line: LogLineInfo) -> bool:
        seen = (line["source"], line["text"])
        if self._moment is None or line["at"] > self._moment:
            self._moment, self._of_the_moment = line["at"], set()
        elif line["at"] == self._moment and seen in self._of_the_moment:
            return False
        if line["at"] == self._moment:
            self._of_the_moment.add(seen)
        return True
