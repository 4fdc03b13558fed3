"""Where a reader of the event log is: what it asks for next, and what of an answer is new to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from intendant.client import wire
from intendant.client.place import Place
from intendant.client.shapes import EventInfo


class EventCursor(Place):
    """The place in the log: after a lost connection the same events neither miss nor repeat."""

    final = "event_list_response"
    keeps_place = True
    limit = None

    def __init__(self, selection: list[str], *, after_id: int, follow: bool) -> None:
        super().__init__(selection)
        self._last_id = after_id
        self._follow = follow

    def request(self) -> list[bytes]:
        """Ask for what comes after the last event taken."""
        return wire.request(
            "event_list_request",
            after_id=self._last_id,
            selection=self.selection or None,
            follow=self._follow,
        )

    def take(self, body: Sequence[bytes]) -> list[EventInfo]:
        """The new events in a PARTIAL: none in a tick."""
        message = self._part(body, "event_batch")
        sent = cast(list[EventInfo], message.get("events", []))
        # An event without a detail travels without it (fields at their default are left out).
        found = [cast(EventInfo, {**event, "detail": event.get("detail", {})}) for event in sent]
        new = [event for event in found if event["id"] > self._last_id]
        if new:
            self._last_id = new[-1]["id"]
        return new
