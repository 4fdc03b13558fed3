"""What outlives SIGKILL is shown as what it is, never called ended, and keeps nobody else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.helpers import undying
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import event_names, run_rows
from tests.helpers.trees import METHODS
from tests.helpers.waiting import wait_for


def start_with(daemon: Daemon, method: str) -> None:
    config = daemon.home / "settings.toml"
    config.write_text(f'slots = 4\ntree = "{method}"\n')
    daemon.start("--config", str(config))


def submit(daemon: Daemon) -> tuple[int, int]:
    """A run that can be held, and its workload's pid."""
    ready: Path = daemon.home / f"ready-{len(list(daemon.home.glob('ready-*')))}"
    with daemon.client() as client:
        run = client.submit(undying.workload(ready), grace_s=0.1)
    wait_for("the workload is ready", ready.exists)
    daemon.wait_state(run.id, "running")
    return run.id, int(ready.read_text())


def is_unkillable(daemon: Daemon, run_id: int) -> bool:
    return "unkillable" in event_names(daemon.state_dir, run_id)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_cannot_be_killed_is_unkillable_until_it_is_gone(
    folders: Daemon, method: str
) -> None:
    start_with(folders, method)
    run_id, pid = submit(folders)
    with undying.held(pid), folders.client() as client:
        assert folders.run("cancel", str(run_id)).returncode == 0
        wait_for("it is unkillable", lambda: is_unkillable(folders, run_id))
        # In seconds the executor takes over, to which the dead leader of a cgroup is gone.
        assert client.explain([run_id])["code"] in ("unkillable", "ended")
        assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 3").returncode == 3
    assert folders.wait_state(run_id, "ended")["outcome"] == "cancelled"
    told = [event.after for event in folders.events(run_id) if event.event == "unkillable"]
    assert told == ["stopping"]


def test_one_lost_tree_that_cannot_be_killed_keeps_no_other_from_being_recorded(
    folders: Daemon,
) -> None:
    start_with(folders, "subreaper")
    stuck, pid = submit(folders)
    other, _ = submit(folders)
    with undying.held(pid):
        for run_id in (stuck, other):
            os.kill(folders.claim(run_id)["pid"], signal.SIGKILL)
        assert folders.wait_state(other, "ended")["reason"] == "governor_lost"
        wait_for("the first is unkillable", lambda: is_unkillable(folders, stuck))
        assert run_rows(folders.state_dir)[stuck]["state"] == "running"
    run = folders.wait_state(stuck, "ended")
    assert (run["outcome"], run["reason"]) == ("interrupted", "governor_lost")
