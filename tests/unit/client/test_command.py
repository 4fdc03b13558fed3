"""What a submission asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from intendant.client.command import Command, RunOptions, Submitter, spec_of, submission
from intendant.errors import InvalidRequest
from intendant.protocol.environment import decode_environment
from intendant.protocol.fields import RetryPolicy
from intendant.protocol.specs import RunSpec, Submission
from intendant.protocol.workloads import CommandSpec

HERE = Submitter("/home/somebody", {b"PATH": b"/bin", b"ODD": b"\xff"}, 0o027)
EVERYTHING: RunOptions = {
    "name": "build",
    "queue": "cpu",
    "priority": -3,
    "timeout_s": 60.0,
    "grace_s": 0.0,
    "retry": 2,
    "restartable": True,
    "hold": True,
    "cwd": "sub",
    "env": {"A": "1"},
}


def parsed(fields: Mapping[str, object]) -> Submission:
    """A submission as the daemon reads it."""
    return Submission.model_validate(fields)


def test_a_command_becomes_a_spec_with_what_was_said() -> None:
    command = Command(["make"], cwd=Path("/src"), env={"V": "1"}, umask=0o22, stdin="in")
    spec = RunSpec.model_validate(command.spec())
    assert spec.workload == CommandSpec(
        kind="command", argv=["make"], cwd="/src", env={"V": "1"}, umask=0o22, stdin="in"
    )


def test_options_win_over_the_command() -> None:
    spec = RunSpec.model_validate(spec_of(Command(["make"], timeout_s=1, cwd="a"), **EVERYTHING))
    assert spec == RunSpec(
        name="build",
        queue="cpu",
        priority=-3,
        timeout_s=60,
        grace_s=0,
        retry=RetryPolicy(attempts=2),
        restartable=True,
        hold=True,
        workload=CommandSpec(kind="command", argv=["make"], cwd="sub", env={"A": "1"}),
    )


def test_bare_arguments_are_a_command() -> None:
    assert spec_of(["echo", "hi"]) == {"workload": {"kind": "command", "argv": ["echo", "hi"]}}


def test_a_spec_stays_what_it_is() -> None:
    spec = {"name": "a", "workload": {"kind": "command", "argv": ["true"]}}
    assert spec_of(spec) == spec


@pytest.mark.parametrize("what", ["echo hi", {"workload": "echo hi"}, {}])
def test_what_is_no_command_is_refused(what: Sequence[str] | Mapping[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        spec_of(what)


def test_a_submitters_environment_travels_verbatim() -> None:
    assert decode_environment(HERE.encoded_environment()) == HERE.environment


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [(None, "/home/somebody"), ("sub", "/home/somebody/sub"), ("/srv", "/srv")],
)
def test_a_submission_from_here_runs_in_this_folder(cwd: str | None, expected: str) -> None:
    fields = submission(spec_of(["true"], cwd=cwd), submitter=HERE)
    assert parsed(fields).spec.workload.cwd == expected


@pytest.mark.parametrize(("umask", "expected"), [(None, 0o027), (0o077, 0o077)])
def test_a_submission_from_here_runs_with_this_umask(umask: int | None, expected: int) -> None:
    fields = submission(spec_of(Command(["true"], umask=umask)), submitter=HERE)
    assert parsed(fields).spec.workload.umask == expected


def test_a_submission_from_afar_brings_neither_folder_nor_environment() -> None:
    request = parsed(submission(spec_of(["true"]), secret_env={"TOKEN": "x"}))
    assert request.spec.workload.cwd is None
    assert request.secrets.environment is None
    assert request.secrets.env == {"TOKEN": "x"}


def test_a_submission_without_a_key_gets_one_of_its_own() -> None:
    keys = {parsed(submission(spec_of(["true"]))).submission_key for _ in range(3)}
    assert len(keys) == 3
    assert None not in keys


def test_the_environment_is_not_in_a_repr() -> None:
    assert "PATH" not in repr(HERE)


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="key: found nothing, expected 1 to 200 characters"):
        submission(Command(["true"]).spec(), key="")


def test_a_program_for_the_end_is_found_from_the_submitters_folder(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.touch(0o755)
    here = Submitter(str(tmp_path), {}, 0o022)

    def on_end(*argv: str) -> object:
        spec = {**Command(["true"]).spec(), "on_end": list(argv)}
        return parsed(submission(spec, submitter=here)).spec.on_end

    assert on_end("./hook", "x") == [str(hook), "x"]
    assert on_end(str(hook)) == [str(hook)]
    assert on_end("mail", "./hook") == ["mail", "./hook"]
    with pytest.raises(InvalidRequest, match=r"on_end: found \./other, expected a program"):
        on_end("./other")
