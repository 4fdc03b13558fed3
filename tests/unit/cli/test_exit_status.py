"""What exit statuses mean."""

from __future__ import annotations

from typing import cast

import pytest

from intendant.cli import exit_status
from intendant.client.shapes import RunInfo
from intendant.errors import (
    Busy,
    InternalError,
    InvalidRequest,
    ProtocolError,
    RunNotFound,
    SettingsError,
    SupervisionError,
    Unreachable,
)


def ended(outcome: str | None, exit_code: int | None = None, signal: int | None = None) -> RunInfo:
    """A run that ended like this."""
    return cast(RunInfo, {"outcome": outcome, "exit_code": exit_code, "signal": signal})


@pytest.mark.parametrize(
    ("run", "status"),
    [
        (ended("succeeded", 0), 0),
        (ended("succeeded"), 0),
        (ended("failed", 3), 3),
        (ended("failed", 127), 127),
        (ended("failed", 126), 126),
        (ended("failed", signal=9), 137),
        (ended("failed", signal=15), 143),
        (ended("failed", 0), 125),
        (ended("failed"), 125),
        (ended("timed_out", signal=15), 124),
        (ended("timed_out", 0), 124),
        (ended("cancelled", signal=15), 130),
        (ended("interrupted", signal=15), 125),
        (ended(None), 125),
    ],
)
def test_a_run_gives_the_status_of_its_workload_or_of_its_ending(run: RunInfo, status: int) -> None:
    assert exit_status.of_run(run) == status


def test_several_runs_give_the_highest() -> None:
    runs = [ended("succeeded", 0), ended("failed", 3), ended("failed", 2)]
    assert exit_status.of_runs(runs) == 3


def test_no_runs_are_no_failure() -> None:
    assert exit_status.of_runs([]) == 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unreachable("x"), 69, "unreachable"),
        (Busy("x"), 75, "busy"),
        (TimeoutError("x"), 75, "timeout"),
        (SettingsError("x"), 2, "settings_error"),
        (SupervisionError("x"), 125, "supervision_error"),
        (RunNotFound("x"), 1, "run_not_found"),
        (InvalidRequest("x"), 1, "invalid_request"),
        (InternalError("x"), 1, "internal_error"),
        (ProtocolError("x"), 1, "protocol_error"),
    ],
)
def test_an_error_has_a_status_and_a_code(error: Exception, status: int, code: str) -> None:
    assert (exit_status.of_error(error), exit_status.code_of_error(error)) == (status, code)
