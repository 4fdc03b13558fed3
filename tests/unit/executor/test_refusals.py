"""A refused request does not quote what may be secret in it."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from intendant.errors import InvalidRequest
from intendant.executor.handlers import parse
from intendant.protocol.messages import EXECUTOR_REQUEST

CANARY = "canary-5171"


def submission(**workload: object) -> dict[str, Any]:
    return {"spec": {"workload": {"kind": "command", "argv": ["true"], **workload}}}


@pytest.mark.parametrize(
    "request_",
    [
        {"runs": [submission(env={"A_TOKEN": CANARY + "\0"})]},
        {"runs": [submission(env={"A_TOKEN": [CANARY]})]},
        {"runs": [submission(env={"A_TOKEN": CANARY * 20_000})]},
        {"runs": [submission(env=CANARY)]},
        {"runs": [submission()], "environment": CANARY},
        {"runs": [{**submission(), "secrets": {"env": {"X": CANARY + "\0"}}}]},
        {"runs": [{**submission(), "secrets": {"pickle": CANARY}}]},
        {"runs": [{**submission(), "secrets": CANARY}]},
        {"runs": [submission(kind="comand", env={"A": CANARY})]},
        {"runs": [submission(kind=None, env={"A": CANARY})]},
        {"runs": {"secrets": {"env": {"X": CANARY}}}},
        {"runs": [{**submission(), "submission_key": [{"secrets": {"env": {"X": CANARY}}}]}]},
        {"kind": "run_submt_request", "runs": [{"secrets": {"env": {"X": CANARY}}}]},
        {"kind": "run_finished_request", "token": [CANARY]},
        {"kind": "run_note_request", "token": CANARY, "event": "unknown"},
    ],
)
def test_a_refused_request_does_not_quote_what_may_be_secret(request_: dict[str, Any]) -> None:
    body = json.dumps({"kind": "run_submit_request", **request_}).encode()

    with pytest.raises(InvalidRequest) as refused:
        parse(EXECUTOR_REQUEST, [body])

    assert str(refused.value)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_c6_a_new_pipeline_has_no_parameter_made_of_its_steps_own_parameters() -> None:
    step = {
        "name": "a", "parameters": {"x": 1, "y": "${parameters.x}"},
        "workload": {"kind": "command", "argv": ["true"]},
    }  # fmt: skip
    run = {"spec": {"workload": {"kind": "pipeline", "steps": [step]}}}
    body = json.dumps({"kind": "run_submit_request", "runs": [run]}).encode()

    with pytest.raises(InvalidRequest, match=r"step 'a': parameters: .*one of the parameters"):
        parse(EXECUTOR_REQUEST, [body])
