"""`protocol/README.md` against the code: what it lists is complete, what it shows is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intendant.broker.config import CLIENT_HWM, BrokerConfig
from intendant.broker.core import MAX_WAITING, MAX_WAITING_BYTES
from intendant.errors import REFUSALS
from intendant.executor.answers import MAX_RUNS
from intendant.executor.results import PIECE_BYTES
from intendant.executor.run_logs import CHUNK_BYTES
from intendant.protocol import mdp
from intendant.protocol.access import RULES
from intendant.protocol.executor_states import Policy
from intendant.protocol.fields import MAX_ARGUMENT_BYTES
from intendant.protocol.messages import Message
from intendant.protocol.pipelines import MAX_STEPS
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import MAX_PICKLE_BYTES, MAX_SPEC_BYTES
from intendant.protocol.study import MAX_METRICS, MAX_REPORTS, MAX_TRIALS, MAX_TRIALS_AT_ONCE
from intendant.protocol.workloads import MAX_CALL_ARGUMENTS_BYTES
from intendant.settings import Settings
from intendant.trial import MAX_LINE_BYTES

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


def test_limits_are_listed_as_they_are() -> None:
    mib, kib, settings, broker = 1024 * 1024, 1024, Settings(), BrokerConfig()
    section = TEXT.partition("### Limits")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)[1:]

    assert {what: figure.partition(" (")[0] for what, figure in rows} == {
        "a frame": f"{mdp.MAX_FRAME_BYTES // mib} MiB",
        "a message": f"{mdp.MAX_FRAMES} frames",
        "the spec of a run, a pipeline or a study, as JSON": f"{MAX_SPEC_BYTES // mib} MiB",
        "the steps of a pipeline": f"{MAX_STEPS:,}",
        "the trials of a study": f"{MAX_TRIALS:,}, of them {MAX_TRIALS_AT_ONCE:,} at once",
        "the metrics of a study": f"{MAX_METRICS}",
        "a trial's report, and how many reports": (
            f"{MAX_LINE_BYTES // mib} MiB, and {MAX_REPORTS:,}"
        ),
        "a call's pickle, and the JSON of its arguments": (
            f"{MAX_PICKLE_BYTES // mib} MiB, and {MAX_CALL_ARGUMENTS_BYTES // kib} KiB"
        ),
        "one argument of a command": f"{MAX_ARGUMENT_BYTES:,} bytes",
        "runs of one account that wait": f"{settings.max_queued:,}",
        "requests that wait for one service": f"{broker.max_queue:,}, half of them of one client",
        "requests that wait in the broker": (
            f"{MAX_WAITING:,}, and {MAX_WAITING_BYTES // mib} MiB of bodies"
        ),
        "streams at once": f"{settings.max_streams}",
        "a piece of a log in one message": f"{CHUNK_BYTES // kib} KiB",
        "a piece of a result in one answer": f"{PIECE_BYTES // mib} MiB",
        "runs in one answer": f"{MAX_RUNS:,}, and half a frame",
        "messages on their way to one client": f"{CLIENT_HWM}",
        "connections by tcp": f"{settings.max_connections:,} of each endpoint",
    }
