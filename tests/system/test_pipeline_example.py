"""The census of the standard library, from TOML and from Python, in every model; killed midway."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

ROOT = Path(__file__).parents[2]
HEAD = ["PACKAGE", "FILES", "LINES", "FUNCTIONS", "CLASSES"]
WITNESS = """
import time
from pathlib import Path

from intendant.workloads.pipeline.step_executor import StepExecutor

class Witnessed(StepExecutor):
    def run_step(self, step):
        name, path = self.order["step"], Path(self.order["cwd"], "witness")
        with path.open("a") as file:
            file.write(name + "\\n")
        if name == "merge" and path.read_text().split().count(name) == 1:
            time.sleep(600)
        return super().run_step(step)
"""
"""A line for each time that a step is carried out; the first time `merge` comes to no end."""


@pytest.fixture
def home(folders: Daemon) -> Iterator[Daemon]:
    """Folders in which nothing runs, with the examples in them."""
    (folders.home / "examples").symlink_to(ROOT / "examples")
    yield folders
    folders.assert_nothing_left()


def write(home: Daemon, execution: str) -> None:
    (home.home / "witnessed.py").write_text(WITNESS)
    text = (ROOT / "examples/pipeline.toml").read_text()
    chosen = f'execution = "{execution}"\nstep_executor = "witnessed:Witnessed"'
    (home.home / "pipeline.toml").write_text(text.replace('execution = "processes"', chosen))


def witness(home: Daemon) -> Counter[str]:
    """How often each step was carried out."""
    path = home.home / "witness"
    return Counter(path.read_text().splitlines() if path.exists() else [])


@pytest.mark.parametrize("execution", ["processes", "inline", "runs"])
def test_c10_killed_in_the_middle_the_census_goes_on_does_nothing_twice_and_is_that_from_python(
    home: Daemon, execution: str
) -> None:
    write(home, execution)
    running = home.popen("run", "--state-dir", "kept", "pipeline.toml")
    wait_for("all before the last two are done", lambda: witness(home)["merge"], within_s=60)
    [daemon] = psutil.Process(running.pid).children()
    daemon.kill()
    running.communicate(timeout=120)
    assert running.returncode != 0
    done = witness(home)
    assert (len(done), set(done.values())) == (14, {1})

    again = home.run("run", "--continue", "--state-dir", "kept")
    assert again.returncode == 0, again.stderr
    assert witness(home) == done + Counter(["merge", "report"])

    from_python = subprocess.run(
        [sys.executable, "examples/pipeline.py", execution],
        cwd=home.home,
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert from_python.returncode == 0, from_python.stderr
    assert again.stdout == from_python.stdout
    head, *packages, total = again.stdout.splitlines()
    assert head.split() == HEAD
    assert len(packages) == 12
    assert total.startswith("all ")
