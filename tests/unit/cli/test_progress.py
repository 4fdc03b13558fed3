"""Progress on a terminal; nothing anywhere else."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from intendant.cli.progress import describe, progress_on
from intendant.client.shapes import RunInfo


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


def a_run(run_id: int, state: str, name: str | None = None) -> RunInfo:
    outcome = "succeeded" if state == "ended" else None
    return cast(RunInfo, {"id": run_id, "name": name, "state": state, "outcome": outcome})


def test_nothing_is_written_where_nobody_looks() -> None:
    stream = io.StringIO()
    with progress_on(stream) as progress:
        progress.show([a_run(1, "running")])
    assert not progress.is_shown
    assert stream.getvalue() == ""


def test_a_terminal_shows_how_many_have_ended_and_what_runs() -> None:
    stream = Terminal()
    with progress_on(stream) as progress:
        progress.show([a_run(1, "ended"), a_run(2, "running", "build"), a_run(3, "queued")])
    assert "1/3" in stream.getvalue()
    assert "build" in stream.getvalue()


def test_before_the_first_word_nothing_is_drawn_and_the_total_is_what_was_planned() -> None:
    stream = Terminal()
    with progress_on(stream, total=3) as progress:
        assert "/" not in stream.getvalue()
        progress.show([a_run(1, "ended")])
    assert "1/3" in stream.getvalue()
    assert stream.getvalue().count("/") == stream.getvalue().count("1/3")


def test_other_output_finds_the_bar_gone() -> None:
    stream = Terminal()
    with progress_on(stream) as progress:
        progress.show([a_run(1, "running", "build")])
        with progress.hidden():
            stream.write("<other>")
    before, _, after = stream.getvalue().partition("<other>")
    assert "\x1b[2K" in before
    assert "build" in after


def test_nobody_waits_for_other_output_that_nobody_reads() -> None:
    stream = Terminal()
    with progress_on(stream) as progress, ThreadPoolExecutor(1) as main:
        progress.show([a_run(1, "running", "build")])
        with progress.hidden():
            stream.write("<other>")
            main.submit(progress.show, [a_run(1, "running", "test")]).result(60)
            hidden = stream.getvalue().partition("<other>")[2]
        shown = stream.getvalue().partition("<other>")[2]
    assert hidden == ""
    assert "test" in shown


def test_names_are_shown_as_text_and_cut_off_in_time() -> None:
    runs = [a_run(at, "running", f"\x1b[31m{at}" * 5) for at in range(20)]
    text = describe(runs)
    assert "\x1b" not in text
    assert len(text) <= 50


def test_without_a_live_run_it_says_that_it_waits() -> None:
    assert describe([a_run(1, "queued")]) == "waiting"


def test_lines_above_the_bar_are_drawn_in_the_place_of_those_before() -> None:
    stream = Terminal()
    with progress_on(stream) as progress:
        progress.show([a_run(1, "running", "digits")])
        progress.show_above("TRIAL  LOSS\n3      0.25")
        progress.show_above("TRIAL  LOSS\n4      0.125")
    drawn = stream.getvalue()
    assert drawn.index("0.25") < drawn.rindex("0.125")
    assert "digits" in drawn[drawn.rindex("0.125") :]
