"""Calls as a submission asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from intendant.client.call import MAX_PICKLE_BYTES, Call, is_target
from intendant.client.command import Submitter, submitted
from intendant.client.pickles import open_call
from intendant.errors import InvalidRequest
from intendant.protocol import specs
from intendant.protocol.specs import RunSpec, Submission
from intendant.protocol.workloads import CallSpec

HERE = Submitter("/home/somebody", {}, 0o22, "/venv/bin/python")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("lab:fit", True), ("lab.models:Net.fit", True), ("é:ü", True), ("lab", False),
     ("lab:", False), (":fit", False), ("lab.py:1", False), ("a/b:c", False), ("lab:fit\n", False)],
)  # fmt: skip
def test_a_function_is_named_by_module_and_name(text: str, expected: bool) -> None:
    assert is_target(text) is expected


def test_a_named_call_becomes_a_spec_with_what_was_said() -> None:
    call = Call(
        "lab:fit", args={"rate": 0.1}, result="pickle", python=Path("/p"), shutdown_grace_s=9
    )
    assert RunSpec.model_validate(call.spec()) == RunSpec(
        workload=CallSpec(
            kind="call", target="lab:fit", args={"rate": 0.1}, result="pickle", python="/p"
        ),
        shutdown_grace_s=9,
    )


def test_a_map_has_the_arguments_of_each_call() -> None:
    workload = RunSpec.model_validate(Call("lab:fit", map=[(1,), {"x": 2}]).spec()).workload
    assert isinstance(workload, CallSpec)
    assert workload.map == [[1], {"x": 2}]


def test_a_function_travels_in_the_secrets_and_its_digest_in_the_spec() -> None:
    submission = Submission.model_validate(submitted(Call(sum, args=[[1, 2]])))
    workload, pickle = submission.spec.workload, submission.secrets.pickle_bytes()
    assert isinstance(workload, CallSpec)
    assert (workload.target, workload.result) == (None, "pickle")
    assert open_call(pickle or b"").function is sum


def test_a_call_from_here_runs_in_this_folder_with_this_interpreter() -> None:
    workload = Submission.model_validate(submitted(Call("a:b"), submitter=HERE)).spec.workload
    assert isinstance(workload, CallSpec)
    assert (workload.cwd, workload.python) == ("/home/somebody", "/venv/bin/python")


def test_a_call_from_afar_takes_the_daemons_interpreter() -> None:
    workload = Submission.model_validate(submitted(Call("a:b"))).spec.workload
    assert isinstance(workload, CallSpec)
    assert (workload.cwd, workload.python) == (None, None)


def test_a_function_too_large_to_travel_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest, match="let it read a file"):
        Call(len, args=[b"x" * MAX_PICKLE_BYTES])


def test_the_client_knows_the_daemons_bound() -> None:
    assert MAX_PICKLE_BYTES == specs.MAX_PICKLE_BYTES


def test_a_map_of_a_function_that_has_no_name_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="by its name"):
        Call(len, map=[[()]])
