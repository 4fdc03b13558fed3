"""Trials as comma-separated values (RFC 4180): a row for each, a column for each parameter."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from intendant.cli.front import goals_of, values_of

if TYPE_CHECKING:
    from intendant.client.shapes import TrialPage

_SAID = (
    "number", "state", "outcome", "step", "results", "failures", "starts", "running_s",
    "added_at", "started_at", "finished_at", "checkpoint", "reason",
)  # fmt: skip


def csv_of(page: TrialPage) -> str:
    """What is known of each trial, then `metric:NAME`, then `param:NAME`; empty: not known."""
    goals = goals_of(page)
    names = sorted({name for trial in page["trials"] for name in trial.get("params", {})})
    text = io.StringIO()
    writer = csv.writer(text)
    head = [*(f"metric:{name}" for name in goals), *(f"param:{name}" for name in names)]
    writer.writerow([*_SAID, *head])
    for trial in page["trials"]:
        params = trial.get("params", {})
        writer.writerow([
            *(trial.get(name) for name in _SAID),
            *values_of(trial, goals),
            *(_cell(params[name]) if name in params else None for name in names),
        ])  # fmt: skip
    return text.getvalue()


def _cell(value: object) -> object:
    """A number or a text as it is, anything else as JSON."""
    return value if isinstance(value, str | int | float) else json.dumps(value)
