"""The steps of a pipeline on a terminal, and as lines where there is none."""

from __future__ import annotations

import io
from typing import cast

from intendant.cli.step_progress import as_of, chosen, draw, steps_on
from intendant.client.shapes import StepInfo


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def a_step(name: str, state: str = "pending", outcome: str | None = None) -> StepInfo:
    step: StepInfo = {"name": name, "state": state}
    if outcome is not None:
        step["outcome"] = outcome
    return step


def test_where_there_is_no_terminal_each_end_is_one_line_once() -> None:
    stream = io.StringIO()
    with steps_on(stream, "two", 2) as progress:
        for step in (
            a_step("a"),
            a_step("b"),
            a_step("a", "running"),
            a_step("a", "ended", "succeeded"),
            a_step("a", "ended", "succeeded"),
        ):
            progress.show(step)
    assert stream.getvalue() == "intendant: [1/2] step a succeeded\n"


def test_of_a_run_that_goes_on_what_was_done_before_it_is_kept_and_counted_once() -> None:
    stream, since = io.StringIO(), "2030-01-01T12:00:00Z"
    old = {"started_at": "2030-01-01T11:00:00Z", "finished_at": "2030-01-01T11:59:59.5Z"}
    new = {"started_at": "2030-01-01T12:00:00.25Z", "finished_at": "2030-01-01T12:00:01.25Z"}
    done, failed = a_step("a", "ended", "succeeded"), a_step("b", "ended", "failed")
    again = a_step("b", "ended", "succeeded")
    steps = [done | old, failed | old, a_step("c"), a_step("b") | old, again | new, done | old]
    with steps_on(stream, "three", 3) as progress:
        for step in steps:
            progress.show(as_of(cast(StepInfo, step), since))
    assert stream.getvalue().splitlines() == [
        "intendant: [1/3] step a kept",
        "intendant: [2/3] step b succeeded after 1.00s",
    ]


def test_a_terminal_shows_every_step_and_how_it_is() -> None:
    stream = Terminal()
    with steps_on(stream, "three", 3) as progress:
        progress.show(a_step("collect", "ended", "succeeded"))
        progress.show(a_step("parse", "running"))
    assert "three  2 steps: 1 succeeded, 1 running" in stream.getvalue()
    assert "✔ collect succeeded" in stream.getvalue()
    assert "▶ parse running" in stream.getvalue()


def test_where_room_is_short_those_that_run_and_those_that_failed_are_shown_first() -> None:
    steps = [a_step(f"s{number}") for number in range(100)]
    steps[40] = a_step("s40", "ended", "failed")
    steps[70] = a_step("s70", "running")
    assert [step["name"] for step in chosen(steps, 3)] == ["s0", "s40", "s70"]
    assert draw("many", steps, 3).plain.endswith("└─ … 97 more")


def test_names_and_reasons_can_not_harm_a_terminal() -> None:
    step = a_step("a", "ended", "failed")
    step["reason"] = "\x1b[31m[bold]"
    assert "\x1b" not in draw("\x1b]0;x", [step], 10).plain
    assert "[bold]" in draw("x", [step], 10).plain
