"""What a pipeline leaves about itself for people: nothing of it is secret."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from intendant.protocol.pipelines import PipelineSpec
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import ended, started
from intendant.workloads.pipeline.continuing import open_store
from intendant.workloads.pipeline.graph_executor import PipelineRun
from intendant.workloads.pipeline.records import RECORD_FILE, REPORTS_FILE, Records


def test_what_is_marked_as_secret_or_looks_so_is_in_no_record(tmp_path: Path) -> None:
    work = {
        "kind": "call", "target": "lab:f", "args": {"user": "ann", "token": "s3cret"},
        "secret_args": ["token", "pin"], "env": {"API_KEY": "s3cret", "LEVEL": "7"},
    }  # fmt: skip
    step = {"name": "a", "workload": work, "parameters": {"pin": "s3cret"}}
    pipeline = PipelineSpec.model_validate({"kind": "pipeline", "steps": [step]})
    now = datetime.now(UTC)
    report = StepReport(outcome=StepOutcome.SUCCEEDED, parameters={"pin": "s3cret"})
    changes = [
        started("a", attempt=1, folder="steps/a/1", at=now),
        ended("a", StepOutcome.SUCCEEDED, None, at=now, report=report),
    ]

    async def keep() -> None:
        with open_store(pipeline, tmp_path) as store:
            records = Records(PipelineRun(pipeline, "1.1", tmp_path, tmp_path, {}), store)
            store.write(changes)
            await records.tell(changes)
            records.end(None)

    asyncio.run(keep())

    record, reports = ((tmp_path / name).read_text() for name in (RECORD_FILE, REPORTS_FILE))
    assert "s3cret" not in record + reports
    assert "ann" in record
    assert "LEVEL" in record
    assert '"pin": "***"' in reports
