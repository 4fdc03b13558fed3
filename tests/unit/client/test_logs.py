"""The place in a log."""

from __future__ import annotations

import json

import pytest

from intendant.client.logs import LogCursor
from intendant.errors import ProtocolError
from intendant.protocol import messages as m


def cursor() -> LogCursor:
    """At the beginning of the newest attempt."""
    return LogCursor(["1"], stream="stdout", attempt=None, follow=True)


def piece(attempt: int, offset: int, data: bytes) -> list[bytes]:
    """A PARTIAL's body."""
    return [m.encode(m.LogChunk(attempt=attempt, offset=offset, size=len(data))), data]


def test_after_a_lost_connection_it_asks_for_the_rest_of_the_same_attempt() -> None:
    place = cursor()
    place.take(piece(2, 0, b"abc"))
    asked = json.loads(place.request()[0])
    assert (asked["attempt"], asked["offset"]) == (2, 3)


def test_bytes_it_has_are_not_given_twice() -> None:
    place = cursor()
    place.take(piece(1, 0, b"abc"))
    assert place.take(piece(1, 1, b"bcde")) == [b"de"]


def test_an_old_piece_gives_nothing() -> None:
    place = cursor()
    place.take(piece(1, 0, b"abcdef"))
    assert place.take(piece(1, 0, b"abc")) == []
    assert place.take(piece(1, 6, b"g")) == [b"g"]


def test_missing_bytes_are_an_error() -> None:
    place = cursor()
    place.take(piece(1, 0, b"abc"))
    with pytest.raises(ProtocolError, match="byte 5; expected 3"):
        place.take(piece(1, 5, b"f"))


def test_a_new_attempt_begins_at_its_own_place() -> None:
    place = cursor()
    place.take(piece(1, 0, b"abc"))
    assert place.take(piece(2, 0, b"new")) == [b"new"]


def test_a_tick_holds_nothing() -> None:
    assert cursor().take([m.encode(m.StreamTick())]) == []


@pytest.mark.parametrize(
    "body",
    [
        [m.encode(m.LogChunk(attempt=1, offset=0, size=3))],
        [m.encode(m.LogChunk(attempt=1, offset=0, size=3)), b"ab"],
        [b'{"kind": "log_chunk", "size": 1}', b"a"],
    ],
)
def test_a_piece_that_contradicts_itself_is_an_error(body: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        cursor().take(body)
