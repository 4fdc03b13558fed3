"""The database of a pipeline's steps, copied for a run that goes on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from intendant.protocol.step_records import Artifact, StepReport
from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import StepStore, copy_steps, ended, read_step, started

AT = datetime(2026, 11, 21, tzinfo=UTC)


def test_in_a_copy_what_lay_in_the_folder_is_in_the_new_one_and_values_are_what_they_were(
    tmp_path: Path,
) -> None:
    value = json.dumps({"path": "/spool/1/notes", "é": None})
    found = StepReport(outcome=StepOutcome.SUCCEEDED, encoding="json", outputs=value)
    made = Artifact(path="/spool/1/steps/b/1/x", url="file:///spool/1/steps/b/1/x")
    left = StepReport(outcome=StepOutcome.SUCCEEDED, artifacts={"x": made})
    with StepStore(tmp_path / "old.db") as store:
        store.lay_out({"a": "f", "b": "f", "c": "f"})
        for step, report in (("a", found), ("b", left)):
            store.write([started(step, attempt=1, folder=f"steps/{step}/1", at=AT)])
            store.write([ended(step, StepOutcome.SUCCEEDED, None, at=AT, report=report)])
    new = tmp_path / "new.db"
    copy_steps(tmp_path / "old.db", new, old_folder="/spool/1", new_folder="/spool/2")
    a, b, c = (read_step(new, name) for name in "abc")
    assert a is not None
    assert a.report == found
    assert b is not None
    assert b.report is not None
    assert b.report.artifacts["x"].path == "/spool/2/steps/b/1/x"
    assert c is not None
    assert c.report is None
