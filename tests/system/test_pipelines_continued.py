"""Pipelines that go on: after a failure, from a step on, after the death of the daemon."""

from __future__ import annotations

from pathlib import Path

import psutil

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


def test_an_embedded_run_whose_daemon_was_killed_goes_on(folders: Daemon) -> None:
    write(folders, "[ -e go ] || sleep 600")
    state = folders.home / "embedded"
    running = folders.popen("run", "p.toml", "--state-dir", str(state))
    wait_for("b begins", (folders.home / "begun").exists)
    [executor] = psutil.Process(running.pid).children()
    executor.kill()
    running.communicate(timeout=60)
    assert running.returncode != 0
    (folders.home / "go").touch()
    done = folders.run("run", "--continue", "--state-dir", str(state))
    assert done.returncode == 0, done.stderr
    assert witness(folders.home) == ["a", "b", "b", "c from a 2/b first"]
