"""What a submission takes from another run, it takes from its own account's runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from intendant.errors import InvalidRequest
from intendant.executor.access import admit
from intendant.executor.handlers import on_run_submit
from intendant.protocol.messages import RunSubmitRequest, RunSubmitResponse
from intendant.protocol.roles import Caller, Role
from tests.helpers.supervised import supervised
from tests.integration.test_scheduler import serving


def pipeline(workload: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"kind": "pipeline", "steps": [{"name": "a", "workload": workload}], **more}


def study(**resume: object) -> dict[str, Any]:
    return {
        "kind": "study", "target": "lab:objective", "metric": "loss", "mode": "min", "trials": 1,
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}}, "resume": resume,
    }  # fmt: skip


DO = {"kind": "command", "argv": ["true"]}


@pytest.mark.parametrize("what", ["base", "continues", "resume", "source"])
async def test_what_is_taken_from_anothers_run_is_refused_as_if_there_were_none(
    tmp_path: Path, what: str
) -> None:
    async with supervised(tmp_path) as attempt:
        desk, run_id = serving(attempt), attempt.run_id  # ada's

        def borrowing(run_id: int) -> dict[str, Any]:
            match what:
                case "base":
                    return pipeline({"kind": "run", "run": run_id})
                case "continues":
                    return pipeline(DO, continues={"run_id": run_id})
                case "resume":
                    return study(run_id=run_id)
                case _:
                    return study(source=str(attempt.parts.spool.root / str(run_id)))

        async def submit(account: str, role: Role, run_id: int) -> RunSubmitResponse:
            request = RunSubmitRequest.model_validate(
                {"kind": "run_submit_request", "runs": [{"spec": {"workload": borrowing(run_id)}}]}
            )
            caller = Caller(account, role, sees_all=True)
            answer = await on_run_submit(desk, request, admit(request, caller))
            assert isinstance(answer, RunSubmitResponse)
            return answer

        with pytest.raises(InvalidRequest, match=f"no run {run_id}$"):
            await submit("bob", Role.SUBMIT, run_id)
        with pytest.raises(InvalidRequest, match=r"no run 999$"):
            await submit("bob", Role.SUBMIT, 999)
        assert (await submit("ada", Role.SUBMIT, run_id)).run_ids == [run_id + 1]
        assert (await submit("oscar", Role.OPERATE, run_id)).run_ids == [run_id + 2]
