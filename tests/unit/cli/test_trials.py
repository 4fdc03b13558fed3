"""Trials with several metrics: as a table, as comma-separated values, and those on the front."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from intendant.cli import render
from intendant.cli.front import on_front
from intendant.cli.trial import _front
from intendant.cli.trials_csv import csv_of
from intendant.client.shapes import TrialInfo, TrialPage
from intendant.errors import InvalidRequest


def a_page() -> TrialPage:
    trials = [
        trial(0, 0.5, 3.0),
        trial(1, 0.25, 1.0, params={"x": [1, 2]}),
        trial(2, 0.75, 2.0, reason='said: "a, b"\nc'),
        trial(3, 0.1, 9.0, outcome="pruned"),
        trial(4, None, None, outcome=None),
    ]
    return cast(TrialPage, {
        "run_id": 17, "folder": "/spool/17", "metric": "loss", "mode": "min",
        "further_metrics": {"size": "max"}, "trials": trials,
        "counts": {"completed": 3, "pruned": 1, "running": 1}, "total": 5,
    })  # fmt: skip


def trial(number: int, value: float | None, size: float | None, *,
          outcome: str | None = "completed", **fields: Any) -> TrialInfo:  # fmt: skip
    """One trial as it comes from the daemon: what is not known is left out."""
    info: dict[str, Any] = {"number": number, "state": "ended" if outcome else "running",
                            "params": {"x": number}, **fields}  # fmt: skip
    info |= {"outcome": outcome} if outcome else {}
    info |= {} if value is None else {"value": value, "further": {"size": size}}
    return cast(TrialInfo, info)


def test_the_front_is_of_complete_trials_the_best_by_the_first_metric_first() -> None:
    assert [trial["number"] for trial in on_front(a_page())] == [1, 0]


def test_a_study_with_one_metric_has_no_front() -> None:
    page = a_page()
    page["further_metrics"] = {}
    with pytest.raises(InvalidRequest, match="run 17 has one metric"):
        _front(page)


def test_the_table_has_a_column_for_each_metric() -> None:
    head, first, *_ = render.trials(a_page(), datetime.now(UTC)).splitlines()
    assert head.split()[:5] == ["TRIAL", "STATE", "LOSS", "SIZE", "STEP"]
    assert first.split()[:4] == ["0", "completed", "0.5", "3"]


def test_comma_separated_values_have_every_trial_metric_and_parameter() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_of(a_page()), newline="")))
    assert [row["metric:size"] for row in rows] == ["3.0", "1.0", "2.0", "9.0", ""]
    assert [row["param:x"] for row in rows] == ["0", "[1, 2]", "2", "3", "4"]
    assert rows[2]["reason"] == 'said: "a, b"\nc'
