"""Pipelines through the installed command: order, references, outcome, what is left behind."""

from __future__ import annotations

import json
from pathlib import Path

from intendant.protocol.step_states import StepOutcome
from intendant.store.steps import STEPS_FILE, read_steps
from tests.helpers.daemon import Daemon

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
