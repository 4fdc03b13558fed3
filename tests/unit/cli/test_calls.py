"""Functions on the command line, against an executor in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intendant.protocol.workloads import CallSpec
from tests.helpers.shell import Shell


def the_call(shell: Shell) -> CallSpec:
    [submission] = shell.executor.submissions
    assert isinstance(submission.spec.workload, CallSpec)
    return submission.spec.workload


@pytest.mark.parametrize(
    ("typed", "args"),
    [((), []), (("--args", "[1, null]"), [1, None]), (("--args", '{"a": "x"}'), {"a": "x"})],
)
def test_a_function_is_submitted_with_its_arguments(
    shell: Shell, typed: tuple[str, ...], args: object
) -> None:
    assert shell("submit", "lab.models:fit", *typed) == (0, "1\n", "")
    assert (the_call(shell).target, the_call(shell).args) == ("lab.models:fit", args)


def test_options_are_those_of_any_run(shell: Shell) -> None:
    options = "-n fit -q gpu --timeout 2m --env A=1 --key k"
    assert shell("submit", "lab:fit", *options.split())[0] == 0
    [submission] = shell.executor.submissions
    assert (submission.spec.name, submission.spec.timeout_s) == ("fit", 120)
    assert (the_call(shell).env, submission.submission_key) == ({"A": "1"}, "k")


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        (("submit", "lab:fit", "--args", "{"), "found no JSON"),
        (("submit", "lab:fit", "--args", "3"), "found 3, expected a list or an object"),
        (("submit", "--args", "[1]", "--", "make"), "--args with a command"),
        (("submit", "lab:fit", "--", "make"), "before --"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    shell: Shell, typed: tuple[str, ...], complaint: str
) -> None:
    status, out, err = shell(*typed)
    assert (status, out) == (2, "")
    assert complaint in err


def test_a_file_that_is_named_like_a_function_is_a_file(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab:fit").write_text("")
    assert "expected a run file" in shell("submit", "lab:fit")[2]


def test_a_result_is_printed_as_it_is(shell: Shell) -> None:
    shell.executor.result = b'{"score": 0.5}'
    shell("submit", "lab:fit", "--wait")
    assert shell("result", "1") == (0, '{"score": 0.5}\n', "")


def test_a_result_can_go_to_a_file(shell: Shell, tmp_path: Path) -> None:
    shell.executor.result = b"[1]"
    shell("submit", "lab:fit", "--wait")
    assert shell("result", "last", "-o", str(tmp_path / "out")) == (0, "", "")
    assert (tmp_path / "out").read_bytes() == b"[1]"


def test_what_left_no_result_says_so(shell: Shell) -> None:
    shell("submit", "--wait", "--", "true")
    status, out, err = shell("result", "1")
    assert (status, out) == (1, "")
    assert "run 1 left no result: succeeded" in err


def test_a_result_can_be_printed_with_how_the_run_ended(shell: Shell) -> None:
    shell.executor.result = b'{"score": 0.5}'
    shell("submit", "lab:fit", "--wait")
    assert json.loads(shell("result", "last", "--json")[1]) == {
        "run_id": 1, "outcome": "succeeded", "reason": None, "exit_code": 0, "encoding": "json",
        "result": {"score": 0.5},
    }  # fmt: skip
