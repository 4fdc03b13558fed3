"""The census of the standard library, from TOML and from Python, in every model; killed midway."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from intendant.protocol.step_records import StepInfo
from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import STEPS_FILE, read_steps
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
HEAD = ["PACKAGE", "FILES", "LINES", "FUNCTIONS", "CLASSES"]


@pytest.fixture
def home(folders: Daemon) -> Iterator[Daemon]:
    """Folders in which nothing runs, with the examples in them."""
    (folders.home / "examples").symlink_to(ROOT / "examples")
    yield folders
    folders.assert_nothing_left()


def write(home: Daemon, execution: str) -> None:
    text = (ROOT / "examples/pipeline.toml").read_text()
    chosen = text.replace('execution = "processes"', f'execution = "{execution}"')
    (home.home / "pipeline.toml").write_text(chosen)


@pytest.mark.parametrize("execution", ["processes", "inline", "runs"])
def test_the_census_is_the_same_from_toml_and_from_python_in_every_model(
    home: Daemon, execution: str
) -> None:
    write(home, execution)
    from_file = home.run("run", "pipeline.toml")
    from_python = subprocess.run(
        [sys.executable, "examples/pipeline.py", execution],
        cwd=home.home,
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (from_file.returncode, from_python.returncode) == (0, 0), from_python.stderr
    head, *packages, total = from_file.stdout.splitlines()
    assert head.split() == HEAD
    assert len(packages) == 12
    assert total.startswith("all ")
    assert from_python.stdout == from_file.stdout


def test_c10_killed_in_the_middle_it_goes_on_and_nothing_is_done_twice(home: Daemon) -> None:
    write(home, "inline")
    running = home.popen("run", "--state-dir", "kept", "pipeline.toml")

    def done(run_id: int) -> dict[str, StepInfo]:
        infos = read_steps(home.home / "kept/spool" / str(run_id) / STEPS_FILE)
        return {info.name: info for info in infos if info.outcome is StepOutcome.SUCCEEDED}

    wait_for("some steps are done", lambda: len(done(1)) >= 3)
    [daemon] = psutil.Process(running.pid).children()
    daemon.kill()
    running.communicate(timeout=30)
    assert running.returncode != 0

    again = home.run("run", "--continue", "--state-dir", "kept")
    assert again.returncode == 0, again.stderr
    before, after = done(1), done(2)
    assert (len(before) < 15, len(after)) == (True, 15)
    for name, info in before.items():
        assert (after[name].attempt, after[name].finished_at) == (info.attempt, info.finished_at)
