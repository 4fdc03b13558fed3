"""A spool that somebody tampered with harms the run it belongs to, and nobody else."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress

from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive
from tests.helpers.waiting import wait_for


def _serves_others(daemon: Daemon) -> bool:
    return daemon.run("submit", "--wait", "--", "true").returncode == 0


def test_an_unreadable_claim_interrupts_its_run_and_no_other(daemon: Daemon) -> None:
    run_id = daemon.submit("sleep", "600")
    daemon.wait_state(run_id, "running")
    governor = daemon.claim(run_id)["pid"]
    (daemon.attempt_folder(run_id) / "claim").write_text("junk")
    os.kill(governor, signal.SIGKILL)
    run = daemon.wait_state(run_id, "ended")
    assert run["outcome"] == "interrupted"
    assert run["reason"] == "claim_unreadable"
    assert _serves_others(daemon)
    assert daemon.stop() == 143
    daemon.assert_nothing_left()


def test_an_exit_record_that_is_a_folder_counts_as_none(daemon: Daemon) -> None:
    run_id = daemon.submit("sleep", "600")
    daemon.wait_state(run_id, "running")
    (daemon.attempt_folder(run_id) / "exit.json").mkdir()
    os.kill(daemon.claim(run_id)["pid"], signal.SIGKILL)
    assert daemon.wait_state(run_id, "ended")["reason"] == "governor_lost"
    assert _serves_others(daemon)


def test_a_governor_that_cannot_open_its_log_is_tried_again(daemon: Daemon) -> None:
    (daemon.attempt_folder(1) / "governor.log").mkdir(parents=True)
    assert daemon.submit("sh", "-c", "exit 3") == 1
    run = daemon.wait_state(1, "ended")
    assert (run["exit_code"], run["attempt"]) == (3, 2)


def test_a_workload_whose_output_cannot_be_kept_is_not_started(daemon: Daemon) -> None:
    (daemon.attempt_folder(1) / "stdout.log").mkdir(parents=True)
    assert daemon.submit("touch", "started") == 1
    run = daemon.wait_state(1, "ended")
    assert run["outcome"] == "failed"
    assert run["reason"].startswith("not_started: Is a directory")
    assert not (daemon.home / "started").exists()
    assert _serves_others(daemon)


def test_a_daemon_does_not_take_the_spool_of_a_database_that_was_lost_for_its_own(
    folders: Daemon,
) -> None:
    folders.start()
    assert folders.run("submit", "--wait", "--", "echo", "kept").returncode == 0
    folders.stop()
    for file in folders.state_dir.glob("intendant.db*"):
        file.unlink()
    serve = folders.run("serve")
    assert serve.returncode == 1
    assert "the highest id that it ever gave is 0" in serve.stderr
    assert "Put that back (from a backup), or move" in serve.stderr
    assert (folders.attempt_folder(1) / "stdout.log").read_text() == "kept\n"
    assert "it is not the database of these runs" in folders.run("fsck").stdout
    (folders.state_dir / "spool").rename(folders.home / "old")
    folders.start()
    assert _serves_others(folders)


def test_a_run_whose_folder_vanished_is_interrupted_at_the_next_start(folders: Daemon) -> None:
    folders.start()
    run_id = folders.submit("sleep", "600")
    folders.wait_state(run_id, "running")
    governor = folders.claim(run_id)["pid"]
    folders.kill()
    for pid in [governor, *folders.processes()]:
        with suppress(ProcessLookupError):  # the daemon's helpers go by themselves
            os.kill(pid, signal.SIGKILL)
    wait_for("nobody is left", lambda: not folders.processes())
    shutil.rmtree(folders.attempt_folder(run_id).parent)
    folders.start()
    run = folders.wait_state(run_id, "ended")
    assert run["outcome"] == "interrupted"
    assert run["reason"] == "claim_missing; tree_unverified"
    assert _serves_others(folders)


def test_an_attempt_whose_folder_can_not_be_read_at_the_start_is_judged_once_it_can(
    daemon: Daemon,
) -> None:
    run_id = daemon.submit("sleep", "600")
    daemon.wait_state(run_id, "running")
    governor = daemon.claim(run_id)["pid"]
    folder = daemon.attempt_folder(run_id)
    daemon.kill()
    elsewhere = folder.rename(daemon.home / "elsewhere")
    folder.touch()

    daemon.start("--slots", "4")
    assert _serves_others(daemon)
    assert "its fate can't be recorded" in daemon.run("explain", str(run_id)).stdout
    assert daemon.show(run_id)["state"] == "running"

    folder.unlink()
    elsewhere.rename(folder)
    wait_for("its governor is adopted", lambda: "governor_adopted" in daemon.log_text())
    assert is_alive(governor)
    assert daemon.run("cancel", str(run_id)).returncode == 0
    assert daemon.wait_state(run_id, "ended")["outcome"] == "cancelled"
