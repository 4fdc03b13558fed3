"""The worked exchanges, byte for byte: the broker does what they show, the messages are sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intendant.protocol.messages import Message, encode
from intendant.protocol.schemas import kinds
from tests.helpers.exchanges import FILES, FOLDER, Replay, Step, read_frame, read_steps

KINDS = kinds()
MESSAGES = {
    frame
    for path in FILES
    for step in read_steps(path)
    for frame in step.frames
    if frame.startswith(b"{")
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_broker_does_what_an_exchange_shows(path: Path) -> None:
    Replay().carry_out(read_steps(path))


@pytest.mark.parametrize("frame", sorted(MESSAGES), ids=lambda frame: json.loads(frame)["kind"])
def test_a_message_that_is_shown_is_what_would_be_sent(frame: bytes) -> None:
    shown = json.loads(frame)

    message = KINDS[shown["kind"]].validate_json(frame)

    assert isinstance(message, Message)
    assert json.loads(encode(message)) == shown


def test_a_raw_frame_has_the_size_that_its_chunk_says() -> None:
    chunks = [
        step.frames for step in read_steps(FOLDER / "log.txt") if b"log_chunk" in step.frames[-2]
    ]

    assert chunks
    assert all(len(frames[-1]) == json.loads(frames[-2])["size"] for frames in chunks)


def test_the_specification_names_every_exchange() -> None:
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8")

    assert [path.stem for path in FILES if f"`exchanges/{path.name}`" not in text] == []


@pytest.mark.parametrize(
    ("text", "frame"), [('"a\\n"', b"a\n"), ('""', b""), ("01", b"\x01"), ('{"a":1}', b'{"a":1}')]
)
def test_a_frame_is_a_text_an_octet_or_a_message(text: str, frame: bytes) -> None:
    assert read_frame(text) == frame


@pytest.mark.parametrize(
    "steps",
    [
        [Step("worker receives", [b"x"])],
        [Step("client sends", [b"MDPC02", b"\x01", b"mmi.service", b"x"])],
        [Step("client dances")],
    ],
)
def test_a_replay_fails_where_the_broker_does_something_else(steps: list[Step]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        Replay().carry_out(steps)
