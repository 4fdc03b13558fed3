"""Pipelines through the installed command: order, references, outcome, what is left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import STEPS_FILE, read_steps
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive
from tests.helpers.waiting import wait_for

THREE = """
name = "three"
parameters = { greeting = "hello" }

[[steps]]
name = "a"
argv = ["sh", "-c", "echo ${pipeline.greeting}; echo '{\\"x\\": 5}' > $INTENDANT_OUTPUTS"]

[[steps]]
name = "b"
parameters = { twice = ["${a.outputs.x}", "${a.outputs.x}"] }
argv = ["sh", "-c", "echo '{\\"y\\": ${parameters.twice}}' > $INTENDANT_OUTPUTS"]

[[steps]]
name = "c"
argv = ["sh", "-c", "echo ${b.outputs.y.1} ${b.parameters.twice} ${b.id}"]
"""


def outcomes(daemon: Daemon, run_id: int) -> dict[str, StepOutcome | None]:
    """Every step of a pipeline and how it ended."""
    return {info.name: info.outcome for info in read_steps(run_folder(daemon, run_id) / STEPS_FILE)}


def run_folder(daemon: Daemon, run_id: int) -> Path:
    return daemon.attempt_folder(run_id).parent


def test_commands_hand_values_on_by_references(daemon: Daemon) -> None:
    (daemon.home / "three.toml").write_text(THREE)
    done = daemon.run("submit", "three.toml", "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    run_id = int(done.stdout)
    assert set(outcomes(daemon, run_id).values()) == {StepOutcome.SUCCEEDED}
    folder = run_folder(daemon, run_id) / "steps"
    assert (folder / "a/1/stdout.log").read_text() == "hello\n"
    assert (folder / "c/1/stdout.log").read_text() == f"5 [5, 5] {run_id}/b\n"
    daemon.stop()
    daemon.assert_nothing_left()


def test_c19_a_failure_is_the_pipelines_and_other_branches_go_on(daemon: Daemon) -> None:
    steps = [
        {"name": "bad", "argv": ["sh", "-c", "exit 3"]},
        {"name": "child", "argv": ["true"], "after": ["bad"]},
        {"name": "other", "argv": ["true"]},
        {"name": "last", "argv": ["true"], "after": ["other"]},
    ]
    (daemon.home / "p.json").write_text(json.dumps({"name": "p", "steps": steps}))
    done = daemon.run("submit", "p.json", "--wait")
    assert done.returncode == 1
    run = daemon.show(int(done.stdout))
    assert (run["outcome"], run["reason"]) == ("failed", "steps_failed: bad (failed)")
    assert outcomes(daemon, run["id"]) == {
        "bad": "failed",
        "child": "not_run",
        "other": "succeeded",
        "last": "succeeded",
    }


def timed_out(daemon: Daemon, limit_s: int) -> tuple[int, int | None]:
    """A pipeline, asked for twice, that came to its limit; the pid of its step if that began."""
    begun = daemon.home / f"slow-{limit_s}"
    script = f"echo $$ > {begun}.new; mv {begun}.new {begun}; exec sleep 600"
    steps = [
        {"name": "slow", "argv": ["sh", "-c", script]},
        {"name": "later", "argv": ["true"], "after": ["slow"]},
    ]
    (daemon.home / "p.json").write_text(json.dumps({"timeout": limit_s, "steps": steps}))
    ids = {daemon.run("submit", "--key", begun.name, "p.json").stdout for _ in range(2)}
    assert len(ids) == 1
    run_id = int(ids.pop())
    assert daemon.run("wait", str(run_id)).returncode == 124
    return run_id, int(begun.read_text()) if begun.exists() else None


def test_c12_c21_the_time_limit_of_a_pipeline_ends_its_steps_and_asking_twice_starts_one(
    daemon: Daemon,
) -> None:
    for limit_s in (2, 30):  # on a busy machine nothing may have begun within the first
        run_id, slow = timed_out(daemon, limit_s)
        if slow is not None:
            break
    assert slow is not None
    assert daemon.show(run_id)["outcome"] == "timed_out"
    assert outcomes(daemon, run_id) == {"slow": "aborted", "later": "not_run"}
    assert not is_alive(slow)
    with daemon.client() as client:
        [(slow_step, later)] = [client.steps([run_id])]
    assert (slow_step["reason"], later["reason"]) == ("aborted: the pipeline ends",) * 2


RUNS = """
name = "as runs"
execution = "runs"

[[steps]]
name = "a"
call = "lab:add"
parameters = { a = 1 }
[[steps]]
name = "b"
argv = ["sh", "-c", "echo b >> witness; [ ! -e block ] || { touch begun; sleep 600; }"]
queue = "other"
after = ["a"]
[[steps]]
name = "c"
call = "lab:add"
parameters = { a = "${a.outputs}", b = 40 }
after = ["b"]
[[steps]]
name = "bad"
argv = ["sh", "-c", "exit 3"]
"""


SKIPPED = """
[[steps]]
name = "unwanted"
call = "lab:skip"
"""
LAB = """
from intendant import this_step

def add(a: int, b: int = 1):
    note = this_step.folder() / "note"
    note.write_text(this_step.name())
    this_step.add_artifact("note", note)
    this_step.add_model(name=f"sum of {a} and {b}")
    return a + b

def skip(): this_step.skip("not today")
"""
OWN_CLASSES = """
step_executor = "own:Steps"
graph_executor = "own:Graph"
"""
OWN = """
from intendant.workloads.pipeline.graph_executor import GraphExecutor
from intendant.workloads.pipeline.step_executor import StepExecutor

def note(file, step):
    with open(file, "a") as file: file.write(step + "\\n")

class Steps(StepExecutor):
    def run_step(self, step):
        note("carried_out", self.order["step"])
        return super().run_step(step)

class Graph(GraphExecutor):
    def _next_attempt(self, name):
        note("started", name)
        return super()._next_attempt(name)
"""


def start_runs(daemon: Daemon, more: str = "", first: str = "") -> int:
    (daemon.home / "lab.py").write_text(LAB)
    (daemon.home / "own.py").write_text(OWN)
    (daemon.home / "runs.toml").write_text(first + RUNS + more)
    return int(daemon.run("submit", "runs.toml").stdout)


def test_c25_l5_l6_steps_as_runs_need_one_slot_alone_and_their_own_queues(folders: Daemon) -> None:
    folders.start("--slots", "1")
    (folders.home / "runs.toml").write_text(RUNS)
    refused = folders.run("submit", "runs.toml")
    assert (refused.returncode, "step 'b': queue: no queue 'other'" in refused.stderr) == (1, True)
    folders.run("queue", "set", "other", "--slots", "1")
    run_id = start_runs(folders, SKIPPED, OWN_CLASSES)
    assert folders.run("wait", str(run_id)).returncode == 1
    assert outcomes(folders, run_id) == {
        "a": "succeeded",
        "b": "succeeded",
        "c": "succeeded",
        "bad": "failed",
        "unwanted": "skipped",
    }
    runs = {run["name"]: run for run in folders.json("ls", "--all")}
    assert {name for name in runs if name.startswith(f"{run_id}/")} == {
        f"{run_id}/{step}" for step in ("a", "b", "c", "bad", "unwanted")
    }
    carried_out = ["a", "b", "bad", "c", "unwanted"]
    assert sorted((folders.home / "carried_out").read_text().split()) == carried_out
    assert sorted((folders.home / "started").read_text().split()) == carried_out
    assert runs[f"{run_id}/b"]["queue"] == "other"
    assert runs[f"{run_id}/bad"]["reason"] == "exit_code: 3"
    with folders.client() as client:
        infos = {step["name"]: step for step in client.steps(run_id)}
    assert infos["a"]["run_id"] == runs[f"{run_id}/a"]["id"]
    assert infos["unwanted"]["reason"] == "step: not today"
    left = cast(dict[str, Any], infos["c"]["report"])
    assert left["outputs"] == "42"
    assert left["models"]["output"] == [{"name": "sum of 2 and 40"}]
    assert Path(left["artifacts"]["note"]["path"]).read_text() == "c"


def test_a_cancelled_pipeline_ends_the_runs_of_its_steps(folders: Daemon) -> None:
    folders.start("--slots", "2")
    folders.run("queue", "set", "other", "--slots", "1")
    (folders.home / "block").touch()
    run_id = start_runs(folders)
    wait_for("b begins", (folders.home / "begun").exists)
    folders.run("cancel", str(run_id))
    assert folders.run("wait", str(run_id)).returncode == 130
    assert outcomes(folders, run_id)["b"] == "aborted"
    wait_for("all have ended", lambda: {each["state"] for each in all_runs(folders)} == {"ended"})


def all_runs(daemon: Daemon) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = daemon.json("ls", "--all")
    return runs


def test_steps_as_runs_go_on_over_the_death_of_the_daemon_and_of_the_pipeline(
    folders: Daemon,
) -> None:
    folders.start("--slots", "2")
    folders.run("queue", "set", "other", "--slots", "1")
    (folders.home / "block").touch()
    run_id = start_runs(folders)
    wait_for("b begins", (folders.home / "begun").exists)
    folders.kill()
    folders.start("--slots", "2")
    child = next(run for run in all_runs(folders) if run["name"] == f"{run_id}/b")
    folders.wait_state(child["id"], "running")
    folders.run("cancel", str(child["id"]))
    assert folders.run("wait", str(run_id)).returncode == 1
    assert outcomes(folders, run_id)["b"] == "aborted"
    assert (folders.home / "witness").read_text() == "b\n", "it was not started twice"


GATED = """
execution = "runs"

[[steps]]
name = "first"
argv = ["sh", "-c", "echo $$ > first; read line < gate"]
[[steps]]
name = "second"
argv = ["touch", "second"]
after = ["first"]
"""


def start_gated(daemon: Daemon) -> int:
    (daemon.home / "gated.toml").write_text(GATED)
    os.mkfifo(daemon.home / "gate")
    run_id = int(daemon.run("submit", "gated.toml").stdout)
    first = daemon.home / "first"
    wait_for("the first step begins", lambda: first.exists() and first.read_text())
    return run_id


def test_a_pipeline_that_was_killed_takes_the_runs_of_its_steps_with_it(daemon: Daemon) -> None:
    run_id = start_gated(daemon)
    daemon.run("cancel", "--now", str(run_id))
    daemon.wait_state(run_id, "ended")
    [child_id] = [run["id"] for run in daemon.json("ls", "--all") if run["id"] != run_id]
    assert daemon.wait_state(child_id, "ended")["outcome"] == "cancelled"
    assert not is_alive(int((daemon.home / "first").read_text()))
    with daemon.client() as client:
        assert [(step["state"], step["outcome"]) for step in client.steps([run_id])] == [
            ("ended", "aborted"), ("ended", "not_run"),
        ]  # fmt: skip


def test_a_daemon_that_drains_starts_the_steps_of_a_pipeline_that_runs(folders: Daemon) -> None:
    folders.start("--slots", "1")
    run_id = start_gated(folders)
    later = folders.submit("touch", "later")
    assert folders.status()["parents"] == 1
    assert "slots      1 of 1 taken" in folders.run("status").stdout
    folders.run("shutdown", "--drain")
    (folders.home / "gate").write_text("go\n")
    assert folders.wait() == 0
    assert (folders.home / "second").exists()
    assert not (folders.home / "later").exists()
    folders.start("--slots", "1")
    assert folders.show(run_id)["outcome"] == "succeeded"
    assert folders.wait_state(later, "ended")["outcome"] == "succeeded"


def test_c2_a_step_does_what_another_run_did_with_its_own_parameters(daemon: Daemon) -> None:
    (daemon.home / "lab.py").write_text("def add(a: int, b: int = 1): return a + b\n")
    base = daemon.run("submit", "lab:add", "--args", '{"a": 1, "b": 1}', "--wait").stdout.strip()
    command = daemon.submit("sh", "-c", "echo ${WORD}", flags=["--env", "WORD=no", "--wait"])
    steps = [
        {"name": "a", "base": int(base), "parameters": {"b": 41}},
        {"name": "b", "base": command, "parameters": {"WORD": "${a.outputs}"}},
    ]
    (daemon.home / "p.json").write_text(json.dumps({"steps": steps}))
    run_id = int(daemon.run("submit", "p.json", "--wait").stdout)
    assert outcomes(daemon, run_id) == {"a": "succeeded", "b": "succeeded"}
    assert (run_folder(daemon, run_id) / "steps/b/1/stdout.log").read_text() == "42\n"

    (daemon.home / "p.json").write_text(json.dumps({"steps": [{"name": "a", "base": 999}]}))
    refused = daemon.run("submit", "p.json")
    assert (refused.returncode, "step 'a': base: no run 999" in refused.stderr) == (1, True)
