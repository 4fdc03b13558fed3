"""`protocol/README.md` against the code: what it lists is complete, what it shows is valid."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from intendant.errors import REFUSALS
from intendant.protocol import mdp
from intendant.protocol.executor_states import Policy
from intendant.protocol.messages import Message, encode
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.schemas import kinds, schemas

TEXT = (Path(__file__).parents[3] / "protocol" / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)]
EXCHANGES = [block for block in BLOCKS if block[0] in ('"MDPC02"', '"MDPW02"')]
KINDS = kinds()
ROWS = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", TEXT, re.MULTILINE))


@pytest.mark.parametrize(
    "word",
    [*(str(message.model_fields["kind"].default) for message in Message.__subclasses__()),
     *RunState, *Outcome, *Policy],
)  # fmt: skip
def test_every_word_of_the_wire_is_explained(word: str) -> None:
    assert f"`{word}`" in TEXT


@pytest.mark.parametrize("code", REFUSALS)
def test_every_code_is_explained_as_its_error_is(code: str) -> None:
    explained = REFUSALS[code].__doc__ or ""

    assert ROWS[code].lower() == explained.removesuffix(".").lower()


@pytest.mark.parametrize("name", re.findall(r"`schemas/([a-z_]+)\.json`", TEXT))
def test_every_schema_that_is_named_exists(name: str) -> None:
    assert name in schemas()


@pytest.mark.parametrize("frames", EXCHANGES, ids=lambda frames: "-".join(frames[:3]))
def test_every_exchange_is_framed_as_its_command_demands(frames: list[str]) -> None:
    commands = {
        '"MDPC02"': {mdp.C_REQUEST: 4, mdp.C_PARTIAL: 4, mdp.C_FINAL: 4},
        '"MDPW02"': {mdp.W_READY: 3, mdp.W_REQUEST: 5, mdp.W_PARTIAL: 5, mdp.W_FINAL: 5},
    }

    least = commands[frames[0]][bytes.fromhex(frames[1])]

    assert len(frames) >= least
    assert least != 5 or frames[3] == '""'


@pytest.mark.parametrize(
    "frame", [frame for frames in EXCHANGES for frame in frames if frame.startswith("{")]
)
def test_every_message_that_is_shown_is_what_would_be_sent(frame: str) -> None:
    shown = json.loads(frame)

    message = KINDS[shown["kind"]].validate_json(frame)

    assert isinstance(message, Message)
    assert json.loads(encode(message)) == shown


def test_a_raw_frame_has_the_size_that_its_chunk_says() -> None:
    (chunk,) = [frames for frames in EXCHANGES if '"log_chunk"' in frames[-2]]

    assert len(json.loads(chunk[4])) == json.loads(chunk[3])["size"]
