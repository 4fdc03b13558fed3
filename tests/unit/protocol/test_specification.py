"""`protocol/README.md` against the code: what it lists is complete, what it shows is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intendant.errors import REFUSALS
from intendant.protocol.access import RULES
from intendant.protocol.executor_states import Policy
from intendant.protocol.messages import Message
from intendant.protocol.run_states import Outcome, RunState

PROTOCOL = Path(__file__).parents[3] / "protocol"
TEXT = (PROTOCOL / "README.md").read_text(encoding="utf-8")
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


def test_every_request_is_listed_with_the_role_and_the_reach_that_it_takes() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (seen|own|) ?\| (.*_request`) \|$", TEXT, re.MULTILINE)
    listed = {
        kind: (role, reach or "none")
        for role, reach, requests in rows
        for kind in re.findall(r"`([a-z_]+)`", requests)
    }

    assert listed == {
        message.model_fields["kind"].default: (rule.role, rule.reach.name.lower())
        for message, rule in RULES.items()
    }


@pytest.mark.parametrize("name", re.findall(r"`schemas/([a-z_]+)\.json`", TEXT))
def test_every_schema_that_is_named_exists(name: str) -> None:
    assert (PROTOCOL / "schemas" / f"{name}.json").exists()
