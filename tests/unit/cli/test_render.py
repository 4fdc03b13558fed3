"""Text for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import cast

import pytest

from intendant.cli import render
from intendant.client.shapes import Explanation, RunInfo

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def a_run(**changes: object) -> RunInfo:
    """A run as the daemon describes it."""
    run = {
        "id": 1, "name": "build", "kind": "command", "state": "ended", "outcome": "failed",
        "reason": "exit code 3", "exit_code": 3, "signal": None, "attempt": 1, "queue": "default",
        "priority": 0, "account": "somebody", "submitted_at": "2026-03-01T12:00:00Z",
        "started_at": "2026-03-01T12:00:01Z", "finished_at": "2026-03-01T12:00:08.5Z",
        "spec": {"workload": {"kind": "command", "argv": ["make", "a b"]}},
    }  # fmt: skip
    return cast(RunInfo, {**run, **changes})


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = render.table(("A", "B"), [("long", "x"), ("s", "yy")])
    assert text == "A     B\nlong  x\ns     yy"


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    text = render.table(("A", "B"), [("漢字", "x"), ("e\u0301", "y")])
    assert text.splitlines()[1:] == ["漢字  x", "e\u0301     y"]


def test_a_name_can_not_break_out_of_its_cell() -> None:
    text = render.runs([a_run(name="\x1b[2J\nfake")], NOW)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"outcome": None, "state": "running"}, "running"),
        ({"outcome": "succeeded", "exit_code": 0}, "succeeded"),
        ({}, "failed (3)"),
        ({"exit_code": None, "signal": 9}, "failed (SIGKILL)"),
        ({"exit_code": None, "signal": 63}, "failed (signal 63)"),
    ],
)
def test_a_runs_standing_says_state_or_outcome(changes: dict[str, object], shown: str) -> None:
    assert render.standing(a_run(**changes)) == shown


def test_a_list_of_runs_has_a_line_for_each() -> None:
    line = render.runs([a_run()], NOW).splitlines()[1]
    assert line.split()[:4] == ["1", "build", "failed", "(3)"]
    assert line.endswith("7.50s  make 'a b'")


def test_a_long_command_is_shortened() -> None:
    argv = ["x" * 500]
    line = render.runs([a_run(spec={"workload": {"argv": argv}})], NOW).splitlines()[1]
    assert line.endswith("…")
    assert len(line) < 140


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("2026-03-01T12:00:00Z", "%H:%M:%S"),
        ("2026-01-15T12:00:00Z", "%b %d %H:%M"),
        ("2024-06-15T12:00:00Z", "%Y-%m-%d"),
    ],
)
def test_a_time_is_local_and_no_longer_than_it_need_be(text: str, pattern: str) -> None:
    expected = datetime.fromisoformat(text).astimezone().strftime(pattern)
    assert render.when(text, NOW) == expected


def test_an_ending_is_one_line() -> None:
    assert render.ending(a_run()) == "run 1 (build) failed (3): exit code 3"


def test_of_several_runs_those_that_failed_stand_apart_from_those_that_waited_for_them() -> None:
    found = [
        a_run(id=1, outcome="succeeded", exit_code=0),
        a_run(id=2),
        a_run(id=3, name=None, outcome="interrupted", exit_code=None, reason="dependency"),
        a_run(id=4, name="b", outcome="interrupted", exit_code=None, reason="dependency"),
        a_run(id=5, state="running", outcome=None),
    ]
    assert render.blame(found) == [
        "run 2 (build) failed (3): exit code 3",
        "not started for that: 3, 4 (b)",
    ]


def test_of_many_failures_the_first_are_named_and_the_rest_counted() -> None:
    skipped = [a_run(id=20 + at, reason="dependency", name=None) for at in range(9)]
    lines = render.blame([a_run(id=at) for at in range(1, 8)] + skipped)
    assert lines[5:] == [
        "2 more did not succeed",
        "not started for that: 20, 21, 22, 23, 24 and 4 more",
    ]


def test_an_explanation_has_its_times_on_the_readers_clock() -> None:
    text = "attempt 1 is running since 2026-03-01T12:00:01.250Z (for 29s)"
    found = {"run_id": 17, "state": "running", "code": "running", "text": text}
    at = datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC).astimezone()
    assert render.explanation(cast(Explanation, found), NOW) == (
        f"17: attempt 1 is running since {at:%H:%M:%S} (for 29s)"
    )


def test_a_value_with_lines_of_its_own_makes_no_line_of_the_log() -> None:
    reason = "cancelled: by bob: x\n2030-01-01 00:00:00  error    executor  forged \x1b[2J"
    text = json.dumps({"event": "attempt_ended", "reason": reason})
    shown = render.log_line(
        {"at": "2030-01-01T00:00:00Z", "level": "info", "source": "executor", "text": text}
    )
    broken = render.log_line(
        {"at": "2030-01-01T00:00:00Z", "level": "error", "source": "broker", "text": reason}
    )
    assert len(shown.split("\n")) == 1
    first, *others = broken.split("\n")
    assert "by bob" in first
    assert all(line.startswith("    | ") for line in others)
    assert "\x1b" not in shown + broken
