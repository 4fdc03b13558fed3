"""Reading what runs wrote from a state folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.shell import Shell


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two runs; the second had two attempts, and a third that never started."""
    for place, text in (("1/1", "one"), ("2/1", "first"), ("2/10", "last"), ("2/2", "second")):
        folder = tmp_path / "spool" / place
        folder.mkdir(parents=True)
        (folder / "stdout.log").write_text(text)
    (tmp_path / "spool/2/10/stderr.log").write_text("wrong")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["1"], "one"),
        (["2", "--attempt", "2"], "second"),
        (["2", "--stderr"], "wrong"),
        (["1", "--stderr"], ""),
    ],
)
def test_a_log_is_read_without_a_daemon(
    shell: Shell, state: Path, args: list[str], text: str
) -> None:
    assert shell("logs", "--state-dir", str(state), *args) == (0, text, "")
    assert shell.executor.requests == []


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["3"], 1, "found the runs 1-2, expected run 3"),
        (["2", "--attempt", "3"], 1, "found the attempts 1-2,10, expected attempt 3"),
        (["1", "-f"], 2, "--follow with --state-dir"),
        (["all"], 2, "one run"),
    ],
)
def test_what_is_not_there_is_said(
    shell: Shell, state: Path, args: list[str], status: int, said: str
) -> None:
    found, out, err = shell("logs", "--state-dir", str(state), *args)
    assert (found, out) == (status, "")
    assert said in err


def test_a_folder_that_is_none_of_ours_holds_no_runs(shell: Shell, tmp_path: Path) -> None:
    status, _, err = shell("logs", "--state-dir", str(tmp_path), "last")
    assert (status, err) == (1, f"intendant: {tmp_path}: found no runs, expected a state folder\n")
