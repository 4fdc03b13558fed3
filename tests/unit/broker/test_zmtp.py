"""ZMTP as bytes (RFC 23): what is said, and what is understood in whatever pieces it comes."""

from __future__ import annotations

import pytest

from intendant.broker.zmtp import MAX_MESSAGE_BYTES, OPENING, Decoder, encode
from intendant.errors import ProtocolError

GREETING = OPENING[:64]
READY = OPENING[64:]
MESSAGES = [[b"a"], [b"", b"b" * 255, b""], [b"c" * 256, b"d" * 70_000]]
LIMIT = 100_000


def ready() -> Decoder:
    decoder = Decoder(max_frame_bytes=LIMIT)
    assert list(decoder.feed(OPENING)) == []
    return decoder


def test_the_greeting_is_that_of_the_rfc() -> None:
    assert GREETING[:1] + GREETING[9:12] == b"\xff\x7f\x03\x00"
    assert GREETING[12:32].rstrip(b"\0") == b"NULL"
    assert not any(GREETING[32:])


def test_frames_are_those_of_the_rfc() -> None:
    assert encode([b"ab"]) == b"\x00\x02ab"
    assert encode([b"", b"c"]) == b"\x01\x00\x00\x01c"
    assert encode([bytes(256)])[:9] == b"\x02\x00\x00\x00\x00\x00\x00\x01\x00"


@pytest.mark.parametrize("size", [1, 7, 63, 64, 65, 1000, 10**6])
def test_messages_are_understood_in_pieces_of_any_size(size: int) -> None:
    decoder = Decoder(max_frame_bytes=LIMIT)
    data = OPENING + b"".join(map(encode, MESSAGES))

    found: list[list[bytes]] = []
    for start in range(0, len(data), size):
        found += decoder.feed(data[start : start + size])

    assert found == MESSAGES
    assert decoder.is_ready


def test_it_is_ready_once_the_other_side_has_said_so() -> None:
    decoder = Decoder(max_frame_bytes=LIMIT)

    assert list(decoder.feed(OPENING[:-1])) == []
    assert not decoder.is_ready
    assert list(decoder.feed(OPENING[-1:])) == []
    assert decoder.is_ready


def test_a_frame_over_the_limit_is_refused_before_it_has_come() -> None:
    decoder = ready()
    head = encode([bytes(LIMIT + 1)])[:9]

    with pytest.raises(ProtocolError, match="at most 100000 bytes, found 100001"):
        list(decoder.feed(head))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1" + bytes(64),
        GREETING[:10] + b"\x01" + GREETING[11:],
        GREETING.replace(b"NULL\0", b"CURVE"),
        GREETING + encode([b"too early"]),
        GREETING + encode([b"too early", b"though its end has not come"])[:-1],
        OPENING + b"\x04\x18\x04PING\x00\x0a" + bytes(17),
        OPENING + b"\x06" + (1000).to_bytes(8, "big") + b"\x04PING" + bytes(995),
        GREETING + b"\x04\x09\x05ERROR\x02no",
        GREETING + b"\x04\x00",
    ],
)
def test_what_is_no_zmtp_with_null_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(Decoder(max_frame_bytes=LIMIT).feed(data))


@pytest.mark.parametrize("size", [LIMIT, 0])
def test_a_message_that_does_not_end_is_refused(size: int) -> None:
    decoder = ready()
    frame = encode([bytes(size), b""])[:-2]
    piece = frame * (1 if size else 50_000)
    most = MAX_MESSAGE_BYTES // len(piece) if size else 2
    assert [decoder.feed(piece) for _ in range(most)] == [[]] * most

    with pytest.raises(ProtocolError, match="a message's end"):
        decoder.feed(piece)


def test_what_was_read_is_not_kept() -> None:
    decoder = ready()
    head = encode([bytes(LIMIT)])[:9]

    for data in (head, bytes(LIMIT - 1), b"\0"):
        messages = decoder.feed(data)

    assert messages == [[bytes(LIMIT)]]
    assert not any(decoder._unread)
    assert decoder.feed(encode([b"x"])) == [[b"x"]]


def test_a_command_that_is_not_known_is_passed_over() -> None:
    decoder = ready()

    assert list(decoder.feed(b"\x04\x05\x04PONG" + encode([b"x"]))) == [[b"x"]]


def test_a_ping_has_an_answer_with_its_context() -> None:
    decoder = ready()

    assert list(decoder.feed(b"\x04\x09\x04PING\x00\x0aab" + encode([b"x"]))) == [[b"x"]]
    assert decoder.take_answers() == b"\x04\x07\x04PONGab"
    assert decoder.take_answers() == b""
