"""The live table of a study: the best first, at most so many rows, counts below."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from intendant.cli import study_view
from intendant.cli.progress import Progress
from intendant.client.client import Client
from intendant.client.shapes import RunInfo


class Screen:
    """What is shown above the bar."""

    is_shown = True

    def __init__(self) -> None:
        self.shown = ""
        self.drawn = threading.Event()

    def show_above(self, text: str) -> None:
        self.shown = text
        self.drawn.set()


class Trials:
    """A client of a daemon in which a study has 30 trials, the best first."""

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def trials(self, selection: list[int], *, best_first: bool, limit: int) -> dict[str, Any]:
        assert (selection, best_first) == ([17], True)
        trials = [
            {"number": 29 - at, "state": "ended", "outcome": "completed", "value": at / 10}
            for at in range(30)
        ]
        return {
            "metric": "loss",
            "mode": "min",
            "trials": trials[:limit],
            "counts": {"completed": 30},
            "total": 30,
        }


def test_the_table_has_twenty_rows_the_best_first_and_counts_by_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study_view, "REFRESH_S", 0.01)
    screen = Screen()
    with study_view.trials_shown(cast(Progress, screen), lambda: cast(Client, Trials())) as look_at:
        look_at(cast(RunInfo, {"id": 17, "kind": "study", "state": "running"}))
        assert screen.drawn.wait(30)
    lines = screen.shown.splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[1].split()[:3] == ["29", "completed", "0"]
    assert lines[-1] == "30 trials: 30 completed"


def test_runs_that_are_no_studies_have_no_such_table() -> None:
    screen = Screen()
    with study_view.trials_shown(
        cast(Progress, screen), lambda: pytest.fail("nobody has to be asked")
    ) as look_at:
        look_at(cast(RunInfo, {"id": 17, "kind": "command", "state": "running"}))
    assert screen.shown == ""
