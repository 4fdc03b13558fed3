"""Pipelines that go on: after a failure, from a step on, after the death of the daemon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from intendant.client.run import Run
from intendant.store.steps import STEPS_FILE, read_steps
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for

STEPS = """
name = "going on"
parameters = { word = "first" }

[[steps]]
name = "a"
argv = ["sh", "-c", "echo a >> witness; echo '{\\"x\\": \\"from a\\"}' > $INTENDANT_OUTPUTS"]
[[steps]]
name = "b"
argv = ["sh", "-c", "echo b >> witness; touch begun; %s"]
after = ["a"]
[[steps]]
name = "c"
argv = ["sh", "-c", "echo c ${a.outputs.x} ${b.id} ${pipeline.word} >> witness"]
"""


def witness(folder: Path) -> list[str]:
    """What the steps wrote down, in the order in which they ran."""
    return (folder / "witness").read_text().splitlines()


def outcomes(state_dir: Path, run_id: int) -> dict[str, str]:
    path = state_dir / "spool" / str(run_id) / STEPS_FILE
    return {info.name: str(info.outcome) for info in read_steps(path)}


def write(daemon: Daemon, of_b: str) -> None:
    (daemon.home / "p.toml").write_text(STEPS % of_b)


def test_c10_c15_a_failed_pipeline_goes_on_and_references_to_what_was_done_resolve(
    daemon: Daemon,
) -> None:
    write(daemon, "[ -e go ]")
    done = daemon.run("submit", "p.toml", "--wait")
    assert done.returncode == 1
    old = int(done.stdout)
    assert outcomes(daemon.state_dir, old) == {"a": "succeeded", "b": "failed", "c": "not_run"}
    (daemon.home / "go").touch()

    new = int(daemon.run("retry", "--continue", str(old)).stdout)
    assert daemon.run("wait", str(new)).returncode == 0
    assert witness(daemon.home) == ["a", "b", "b", f"c from a {new}/b first"]
    assert daemon.show(new)["spec"]["retry_of"] == old
    daemon.run("prune", "--older", "0s", str(old))
    assert not daemon.attempt_folder(old).exists()

    third = int(daemon.run("retry", "--continue", "--set", "word=second", str(new)).stdout)
    assert daemon.run("wait", str(third)).returncode == 0, "it does not need what was pruned"
    assert witness(daemon.home)[4:] == [f"c from a {third}/b second"]

    fourth = int(daemon.run("rerun", str(third), "--from", "b").stdout)
    assert daemon.run("wait", str(fourth)).returncode == 0
    assert witness(daemon.home)[5:] == ["b", f"c from a {fourth}/b second"]

    fifth = int(daemon.run("retry", str(fourth)).stdout)
    daemon.run("wait", str(fifth))
    assert witness(daemon.home)[7:] == ["a", "b", f"c from a {fifth}/b second"], "all of it"


def test_a_pipeline_that_ended_before_it_began_goes_on_from_where_it_should_have(
    daemon: Daemon,
) -> None:
    write(daemon, "[ -e go ]")
    with daemon.client() as client:
        client.queue_pause("default")
        first = int(daemon.run("submit", "p.toml").stdout)

        def go_on(run_id: int) -> Run:
            [again] = client.retry([run_id], continuing={})
            return again

        client.cancel([first])
        second = go_on(first)
        client.queue_resume("default")
        assert second.wait()["outcome"] == "failed"
        assert witness(daemon.home) == ["a", "b"]

        (daemon.home / "go").touch()
        client.queue_pause("default")
        third = go_on(second.id)
        third.cancel()
        fourth = go_on(third.id)
        client.queue_resume("default")
        assert fourth.wait()["outcome"] == "succeeded"
    assert witness(daemon.home) == ["a", "b", "b", f"c from a {fourth.id}/b first"]


def test_what_can_not_go_on_is_refused(daemon: Daemon) -> None:
    write(daemon, "true")
    run_id = daemon.run("submit", "p.toml", "--wait").stdout.strip()
    command = str(daemon.submit("true", flags=["--wait"]))
    refused = daemon.run("retry", "--continue", command)
    assert (refused.returncode, "only a pipeline or a study goes on" in refused.stderr) == (1, True)
    refused = daemon.run("rerun", run_id, "--from", "z")
    assert (refused.returncode, "found 'z'" in refused.stderr) == (1, True)
    assert daemon.run("retry", "--set", "word=x", run_id).returncode == 2


def test_steps_go_on_while_the_daemon_is_down(daemon: Daemon) -> None:
    write(daemon, "until [ -e go ]; do sleep 0.1; done")
    run_id = int(daemon.run("submit", "p.toml").stdout)
    wait_for("b begins", (daemon.home / "begun").exists)
    daemon.kill()
    (daemon.home / "go").touch()
    wait_for("c has run", lambda: len(witness(daemon.home)) == 3)
    daemon.start("--slots", "4")
    assert daemon.run("wait", str(run_id)).returncode == 0
    assert daemon.show(run_id)["attempt"] == 1
    assert set(outcomes(daemon.state_dir, run_id).values()) == {"succeeded"}


PROGRAM = """
from pathlib import Path
from threading import Event

from intendant import Pipeline, step

def note(name):
    with open("witness", "a") as file: file.write(name + "\\n")

@step
def one():
    note("one")
    return {1, 2, 3}

@step
def two(numbers):
    note("two")
    if not Path("go").exists():
        Path("begun").touch()
        Event().wait()
    return len(numbers)

@step
def three(numbers, count):
    note("three")
    return [sum(numbers), count]

with Pipeline("in Python") as pipeline:
    numbers = one()
    three(numbers, two(numbers))
print(pipeline.run(state_dir="kept", resume=True)["three"])
"""


def test_a_pipeline_in_python_whose_daemon_was_killed_goes_on(folders: Daemon) -> None:
    (folders.home / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py"]
    places: dict[str, Any] = {"cwd": folders.home, "env": folders.environment, "text": True}
    running = subprocess.Popen(command, stderr=subprocess.PIPE, **places)
    wait_for("the second step begins", (folders.home / "begun").exists)
    [executor] = psutil.Process(running.pid).children()
    executor.kill()
    _, said = running.communicate(timeout=60)
    assert "with status -9" in said
    assert "to go on: run(state_dir='kept', resume=True)" in said

    (folders.home / "go").touch()
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, **places)
    assert (done.stdout, done.returncode) == ("[6, 3]\n", 0), done.stderr
    assert witness(folders.home) == ["one", "two", "two", "three"]
