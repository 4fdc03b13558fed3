"""What fits into one answer."""

from __future__ import annotations

from datetime import UTC, datetime

from intendant.executor.answers import MAX_RUNS, fitting
from intendant.protocol.mdp import MAX_FRAME_BYTES
from intendant.protocol.messages import RunListResponse, encode
from intendant.protocol.records import RunRecord
from intendant.protocol.run_states import RunState
from intendant.protocol.specs import RunSpec

AT = datetime(2030, 1, 1, tzinfo=UTC)


def run(run_id: int, size_bytes: int = 10) -> RunRecord:
    argv = ["x" * min(size_bytes, 100_000)] * (1 + size_bytes // 100_000)
    workload = {"kind": "command", "argv": argv}
    return RunRecord(
        id=run_id, name=None, kind="command", state=RunState.QUEUED, outcome=None, reason=None,
        exit_code=None, signal=None, attempt=0, queue="default", priority=0, account="ada",
        submitted_at=AT, started_at=None, finished_at=None,
        spec=RunSpec.model_validate({"workload": workload}),
    )  # fmt: skip


def test_small_runs_come_by_the_thousand() -> None:
    runs = [run(number) for number in range(MAX_RUNS + 5)]
    shown, rest = fitting(runs)
    assert [len(shown), len(rest)] == [MAX_RUNS, 5]
    assert shown + rest == runs


def test_large_runs_come_as_far_as_a_frame_holds_them() -> None:
    rest = [run(number, 1_500_000) for number in range(5)]
    while rest:
        shown, rest = fitting(rest)
        assert 1 <= len(shown) <= 2
        assert len(encode(RunListResponse(runs=shown, has_more=True))) < MAX_FRAME_BYTES


def test_no_runs_fit() -> None:
    assert fitting([]) == ([], [])
