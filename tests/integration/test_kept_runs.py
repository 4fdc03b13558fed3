"""Runs that are looked up in a state folder without a daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intendant.cli.kept_logs import kept_log
from intendant.cli.kept_runs import kept_result
from intendant.errors import InvalidRequest, RunNotFound
from intendant.executor.results import PIECE_BYTES
from intendant.protocol.folders import DATABASE
from intendant.protocol.run_states import Outcome
from intendant.protocol.step_records import StepReport
from intendant.protocol.step_states import StepOutcome
from intendant.store.spool import Spool
from intendant.store.steps import STEPS_FILE, StepStore, ended, started
from tests.helpers.stores import StoreCase, opened, submission


@pytest.fixture
async def case(tmp_path: Path) -> AsyncIterator[StoreCase]:
    """A store, in a folder that looks like a state folder."""
    async with opened(tmp_path) as case:
        (tmp_path / DATABASE).symlink_to(case.path)
        yield case


AT = datetime(2030, 1, 1, tzinfo=UTC)


async def test_the_last_run_is_the_one_that_was_queued_last_not_the_last_that_started(
    tmp_path: Path, case: StoreCase
) -> None:
    await case.add()
    folder = Spool(tmp_path / "spool").attempt(await case.add(), 1)
    folder.path.mkdir(parents=True)
    folder.log("stdout").write_text("two")
    await case.add()
    assert await asyncio.to_thread(log_of, tmp_path, "2") == b"two"
    with pytest.raises(RunNotFound, match="expected run 3"):
        await asyncio.to_thread(log_of, tmp_path, "last")


def log_of(state_dir: Path, run: str) -> bytes:
    found = kept_log(state_dir, run, stream="stdout", attempt=None)
    return b"".join(found)


async def test_the_result_of_a_pipeline_is_what_its_steps_left_as_far_as_it_is_small(
    tmp_path: Path, case: StoreCase
) -> None:
    left = {"small": "[1, 2]", "huge": '"' + "x" * PIECE_BYTES + '"', "broken": "{", "last": "3"}
    steps = [{"name": name, "workload": {"kind": "command", "argv": ["x"]}} for name in left]
    what = submission(workload={"kind": "pipeline", "steps": steps})
    [run_id] = await case.store.submit([what], account="ada")
    await case.start(run_id)
    with pytest.raises(InvalidRequest, match="run 1 is running"):
        await asyncio.to_thread(kept_result, tmp_path, "last")
    folder = Spool(tmp_path / "spool").run_folder(run_id)
    folder.mkdir(parents=True)
    with StepStore(folder / STEPS_FILE) as store:
        store.lay_out(dict.fromkeys(left, "f"))
        for name, text in left.items():
            place = folder / "steps" / name / "1"
            place.mkdir(parents=True)
            (place / "outputs.json").write_text(text)
            report = StepReport(outcome=StepOutcome.SUCCEEDED, encoding="json")
            store.write([
                started(name, attempt=1, folder=f"steps/{name}/1", at=AT),
                ended(name, StepOutcome.SUCCEEDED, None, at=AT, report=report),
            ])  # fmt: skip
    await case.end(run_id, Outcome.SUCCEEDED)
    found = await asyncio.to_thread(kept_result, tmp_path, "last")
    assert (found.run_id, found.encoding) == (1, "json")
    assert json.loads(found.data) == {"small": [1, 2], "last": 3}
