"""The daemon with the launcher that `--launcher` chooses; what launchers do is in
tests/integration/test_launchers.py."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive, none_alive
from tests.helpers.waiting import wait_for

LAUNCHERS = ("zygote", "portable")


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_chosen_launcher_starts_runs_and_status_shows_it(
    folders: Daemon, launcher: str
) -> None:
    folders.start("--launcher", launcher)

    done = folders.run("submit", "--wait", "--", "sh", "-c", "exit 7")

    assert done.returncode == 7, done.stderr
    assert folders.status()["launcher"] == launcher
    assert f"{launcher:<10} pid {folders.status()['zygote']['pid']}" in folders.run("status").stdout


def test_the_settings_choose_a_launcher_too(folders: Daemon) -> None:
    (folders.home / "settings.toml").write_text('launcher = "portable"\n')
    folders.start("--config", str(folders.home / "settings.toml"))

    assert folders.status()["launcher"] == "portable"


def test_a_run_of_the_portable_launcher_outlives_the_daemon_and_is_adopted(folders: Daemon) -> None:
    folders.start("--launcher", "portable")
    [run_id] = folders.submit_scripts(f"while [ ! -e {folders.home}/go ]; do sleep 0.05; done")
    governor = folders.claim(run_id)["pid"]
    helper = folders.status()["zygote"]["pid"]

    folders.kill()
    wait_for("the helper is gone", lambda: not is_alive(helper))
    wait_for("its forkserver is gone", lambda: "forkserver" not in str(folders.processes()))
    assert set(folders.processes()) >= {governor}
    folders.start("--launcher", "portable")
    (folders.home / "go").touch()

    assert folders.wait_state(run_id, "ended")["outcome"] == "succeeded"
    assert folders.show(run_id)["attempt"] == 1


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_folder_that_the_daemon_was_started_in_may_go(folders: Daemon, launcher: str) -> None:
    folders.cwd = folders.home / "began"
    folders.cwd.mkdir()
    folders.start("--launcher", launcher)
    folders.ready_zygote()
    folders.cwd.rmdir()
    status = folders.status()
    helpers = [status["broker"]["pid"], status["zygote"]["pid"]]
    for pid in helpers:
        os.kill(pid, signal.SIGKILL)
    wait_for("both are gone", lambda: none_alive(helpers))

    done = folders.run("submit", "--wait", "--", "true", cwd=Path("/"))

    assert done.returncode == 0, done.stderr + folders.log_text()[-2000:]
