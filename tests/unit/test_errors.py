from __future__ import annotations

import inspect
import re

import pytest

from intendant import errors
from intendant.errors import (
    REFUSALS,
    IntendantError,
    RequestRefused,
    RunFailed,
    WorkloadNotStarted,
    refusal,
)

DRAWN_NAME = re.compile(r"[│├└─ ]*\w+")


def drawn(branch: type[Exception], indent: str = "") -> list[str]:
    """The tree below `branch`, as the docstring draws it."""
    lines = []
    # Not those of other modules, which are there only if a test has imported them.
    leaves = [leaf for leaf in branch.__subclasses__() if leaf.__module__ == errors.__name__]
    for leaf in leaves:
        is_last = leaf is leaves[-1]
        lines.append(f"{indent}{'└── ' if is_last else '├── '}{leaf.__name__}")
        lines += drawn(leaf, indent + ("    " if is_last else "│   "))
    return lines


def docstring_lines() -> list[str]:
    text = inspect.cleandoc(errors.__doc__ or "").splitlines()
    start = next(at for at, line in enumerate(text) if "IntendantError" in line)
    return [line for line in text[start:] if line.strip()]


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    names = [found[0] for line in docstring_lines() if (found := DRAWN_NAME.match(line))]

    assert names == ["IntendantError", *drawn(IntendantError)]


def test_the_docstring_says_the_code_of_each_refusal() -> None:
    drawn_codes = {
        words[-2]: words[-1]
        for line in docstring_lines()
        if (words := line.split()) and words[-1] in REFUSALS
    }

    assert drawn_codes == {leaf.__name__: code for code, leaf in REFUSALS.items()}


def test_every_refusal_has_a_code_of_its_own() -> None:
    leaves = RequestRefused.__subclasses__()

    assert set(REFUSALS.values()) == set(leaves)
    assert len({RequestRefused.code, *REFUSALS}) == len(leaves) + 1


@pytest.mark.parametrize(("code", "leaf"), REFUSALS.items())
def test_a_code_comes_back_as_the_error_that_it_stands_for(
    code: str, leaf: type[RequestRefused]
) -> None:
    error = refusal(code, "no run 17")

    assert type(error) is leaf
    assert (error.code, str(error)) == (code, "no run 17")


def test_an_unknown_code_is_a_refusal_that_keeps_its_code() -> None:
    error = refusal("from_the_future", "not today")

    assert type(error) is RequestRefused
    assert (error.code, str(error)) == ("from_the_future", "not today")
    assert RequestRefused.code == "refused"


def test_a_workload_that_did_not_start_keeps_reason_and_exit_code() -> None:
    error = WorkloadNotStarted("command_not_found: mkae", exit_code=127)

    assert (error.reason, error.exit_code) == ("command_not_found: mkae", 127)
    assert str(error) == "command_not_found: mkae"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("exit_code: 2", "run 17 failed: exit_code: 2"),
        (None, "run 17 failed: no reason is known"),
    ],
)
def test_a_failed_run_says_how_it_ended_and_why(reason: str | None, text: str) -> None:
    error = RunFailed(17, outcome="failed", reason=reason, exit_code=2)

    assert str(error) == text
    assert (error.run_id, error.outcome, error.exit_code) == (17, "failed", 2)
