"""A pipeline that is killed while it finds out what is to run, wherever that is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from intendant.executor.bases import without_state
from intendant.protocol.pipelines import ContinueOrder, PipelineSpec, continued
from intendant.protocol.step_states import StepOutcome, StepState
from intendant.store.database import _make_private, prepare
from intendant.store.spool import Spool
from intendant.store.steps import StepStore, copy_steps, ended, started
from intendant.workloads.calling import Refusal
from intendant.workloads.pipeline import continuing
from intendant.workloads.pipeline.continuing import open_store

AT = datetime(2026, 11, 21, tzinfo=UTC)
ARGUMENTS = {"a": "x", "b": "${a.id}", "c": "${b.id}", "d": "${pipeline.top}"}
SPEC = PipelineSpec.model_validate(
    {
        "kind": "pipeline",
        "parameters": {"top": 1},
        "steps": [
            {"name": name, "workload": {"kind": "command", "argv": ["do", text]}}
            for name, text in ARGUMENTS.items()
        ],
    }
)

OPENING: set[CodeType] = {
    *(work.__code__ for work in (continuing.open_store, continuing._take_over, copy_steps)),
    *(work.__code__ for work in (StepStore.__init__, StepStore.lay_out, StepStore.write)),
    *(work.__code__ for work in (prepare, _make_private)),
}
"""What writes while a pipeline is opened."""

pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"  # of files that are open at a kill
)


class Killed(BaseException):
    """It does nothing more: what is not committed is gone."""


def cut_short(work: Callable[[], Any], *, at: int) -> bool:
    """Let it go on until it has come to so many lines; whether it got there."""
    lines = set[tuple[CodeType, int]]()

    def on_line(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            lines.add((frame.f_code, frame.f_lineno))
            if len(lines) > at:
                raise Killed
        return on_line

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: on_line if frame.f_code in OPENING else None)
    try:
        work()
    except Killed:
        return True
    finally:
        sys.settrace(before)
    return False


def is_state(path: Path) -> bool:
    """A file that says something; what SQLite's processes share is made anew from the others."""
    return path.is_file() and not path.name.endswith("-shm")


def ways_to_be_cut_short(pipeline: PipelineSpec, spool: Path, run_id: int) -> Iterator[Path]:
    """Copies of the spool, one for each thing that is on disk while the run's steps are opened."""
    seen: dict[str, bytes] | None = None
    for at in count():
        copy = spool.with_name(str(at))
        shutil.copytree(spool, copy, symlinks=True)
        folder = copy / str(run_id)
        folder.mkdir()
        is_cut = cut_short(lambda: opened(pipeline, folder), at=at)  # noqa: B023  called at once
        files = {path.name: path.read_bytes() for path in folder.rglob("*") if is_state(path)}
        if files != seen:
            yield copy
        if not is_cut:
            return
        seen = files


def opened(pipeline: PipelineSpec, folder: Path) -> set[str]:
    """Open it as its process does; the steps that are to run."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_store(pipeline, folder) as store:
        return {info.name for info in store.steps() if info.state is not StepState.ENDED}


def carry_out(folder: Path) -> None:
    """A run of `SPEC` in which all went well."""
    opened(SPEC, folder)
    with open_store(SPEC, folder) as store:
        for step in "abcd":
            made = folder / f"steps/{step}/1"
            made.mkdir(parents=True)
            (made / "file").write_text(step)
            (made / "link").symlink_to("file")
            store.write([started(step, attempt=1, folder=f"steps/{step}/1", at=AT)])
            store.write([ended(step, StepOutcome.SUCCEEDED, None, at=AT)])


def gone_on(pipeline: PipelineSpec, spool: Path, run_id: int) -> PipelineSpec:
    """What `retry --continue` of this run submits."""
    has_done = run_id not in without_state(Spool(spool), [run_id])
    return continued(pipeline, run_id, ContinueOrder(), has_done=has_done)


def test_wherever_it_is_cut_short_what_was_asked_for_again_runs_and_nothing_else(
    tmp_path: Path,
) -> None:
    carry_out(tmp_path / "spool" / "1")
    pipeline = continued(SPEC, 1, ContinueOrder(rerun=["b"], parameters={"top": 2}))
    ways = 0
    for spool in ways_to_be_cut_short(pipeline, tmp_path / "spool", 2):
        assert opened(gone_on(pipeline, spool, 2), spool / "3") == {"b", "c", "d"}, spool
        assert opened(pipeline, spool / "2") == {"b", "c", "d"}, spool
        assert (spool / "2/steps/a/1/link").read_text() == "a"
        ways += 1
    assert ways > 5, "it was looked at"


def test_a_run_that_is_cut_short_before_it_has_steps_goes_on_as_it_was_to_begin(
    tmp_path: Path,
) -> None:
    (tmp_path / "spool").mkdir()
    ways = 0
    for spool in ways_to_be_cut_short(SPEC, tmp_path / "spool", 1):
        assert opened(gone_on(SPEC, spool, 1), spool / "2") == set("abcd"), spool
        ways += 1
    assert ways > 3, "it was looked at"


def test_a_database_without_steps_is_no_state_to_go_on_from(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/steps.db").touch()
    with pytest.raises(Refusal, match="run 1 has left no state"):
        opened(continued(SPEC, 1, ContinueOrder()), tmp_path / "2")
