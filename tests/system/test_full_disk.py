"""Disks that take nothing more: no false word, no run harmed, and the daemon can still be ended.

A daemon whose files may not grow any more (getrlimit(2): RLIMIT_FSIZE) finds itself in front of a
disk that is full, its log included; its governors, which have limits of their own, do not.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import apsw
import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive, none_alive, run_rows
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Gate, Witness


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


def set_disk(daemon: Daemon, *, is_full: bool) -> None:
    """Let nothing (or everything) that the daemon writes have room."""
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (0 if is_full else hard, hard))


def test_e18_a_submission_that_can_not_be_stored_is_refused_with_the_true_cause(
    daemon: Daemon,
) -> None:
    before = daemon.submit("true")
    set_disk(daemon, is_full=True)
    refused = daemon.run("submit", "--", "true")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "intendant.db" in refused.stderr
    assert daemon.run("ls").returncode == 0
    set_disk(daemon, is_full=False)
    assert [*run_rows(daemon.state_dir)] == [before]
    assert daemon.run("submit", "--wait", "--", "sh", "-c", "exit 3").returncode == 3


def test_e18_runs_go_on_and_are_recorded_when_there_is_room_again(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        set_disk(daemon, is_full=True)
        gate.open()
        wait_for("it has ended", lambda: not is_alive(pid))
        wait_for("its record is there", (daemon.attempt_folder(run_id) / "exit.json").exists)
        assert daemon.show(run_id)["state"] == "running"
        wait_for("the trouble is told", lambda: "trouble" in daemon.status())
        assert "1 run can't go on: its end can't be recorded" in daemon.status()["trouble"]
        assert "its end can't be recorded" in daemon.run("explain", str(run_id)).stdout
        set_disk(daemon, is_full=False)
        run = daemon.wait_state(run_id, "ended")
    assert (run["outcome"], run["exit_code"]) == ("failed", 3)


def test_a_queued_run_starts_when_there_is_room_again(daemon: Daemon, witness: Witness) -> None:
    with Gate(daemon.home / "gate") as gate:
        daemon.submit_scripts(witness.patient(gate), times=4)
        witness.wait_started(4)
        [run_id] = daemon.submit_scripts(witness.says("fifth"))
        set_disk(daemon, is_full=True)
        gate.open()
        wait_for("all have ended", lambda: len(witness.lines("end")) == 4)
        set_disk(daemon, is_full=False)
        assert daemon.wait_state(run_id, "ended")["outcome"] == "succeeded"
    witness.assert_no_attempt_started_twice()


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_a_full_disk_keeps_no_run_alive_and_two_signals_end_the_daemon(
    daemon: Daemon, witness: Witness, is_stubborn: bool
) -> None:
    script = witness.stubborn() if is_stubborn else witness.cooperative()
    run_id = daemon.submit("sh", "-c", script, flags=["--restartable", "--grace", "5m"])
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    set_disk(daemon, is_full=True)
    daemon.send(signal.SIGTERM)
    wait_for("it is stopping", lambda: daemon.status()["state"] == "stopping")
    if not is_stubborn:
        wait_for("the first signal ends it", lambda: not is_alive(pid))
    assert daemon.stop(signal.SIGTERM) == 143
    assert not is_alive(pid)
    daemon.start("--slots", "4")  # nothing was recorded; what the spool says is enough
    again = witness.wait_said("start", times=2)[1]
    assert (again.run_id, again.attempt) == (run_id, 2)
    assert daemon.run("cancel", "--now", str(run_id)).returncode == 0
    daemon.wait_state(run_id, "ended")


def test_a_daemon_that_ends_does_not_wait_for_room(daemon: Daemon, witness: Witness) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    witness.wait_started()
    daemon.wait_state(run_id, "running")
    set_disk(daemon, is_full=True)
    assert daemon.stop(signal.SIGTERM) == 143
    daemon.start("--slots", "4")
    run = daemon.wait_state(run_id, "ended")
    assert run["outcome"] == "interrupted"
    assert run["reason"].startswith("daemon_stopping")


@contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Another program writes to the database, and takes its time."""
    connection = apsw.Connection(str(daemon.state_dir / "intendant.db"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_another_program_that_locks_the_database_keeps_no_run_alive(
    daemon: Daemon, witness: Witness
) -> None:
    daemon.submit_scripts(witness.cooperative(), times=4)
    pids = witness.wait_started(4)
    wait_for("all are running", lambda: len(running(daemon)) == 4)
    with locked(daemon):
        daemon.send(signal.SIGTERM)
        wait_for("they are gone", lambda: none_alive(pids))
    assert daemon.wait() == 143
    assert {row["outcome"] for row in run_rows(daemon.state_dir).values()} == {"interrupted"}


def running(daemon: Daemon) -> list[int]:
    rows = run_rows(daemon.state_dir).values()
    return [row["id"] for row in rows if row["state"] == "running"]


def test_a_submission_that_has_waited_long_for_a_locked_database_is_refused_whole(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        with locked(daemon):
            submitting = daemon.popen("submit", "--", "true")
            with daemon.client() as client:
                while submitting.poll() is None:  # it takes SQLite's busy timeout
                    assert client.status()["state"] == "running"
            out, errors = submitting.communicate(timeout=60)
            assert (submitting.returncode, out) == (1, "")
            assert "database is locked" in errors
            assert is_alive(pid)
        gate.open()
        assert daemon.wait_state(run_id, "ended")["exit_code"] == 3
    assert [*run_rows(daemon.state_dir)] == [run_id]
    assert daemon.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5


def test_while_the_database_is_locked_the_daemon_answers_and_nothing_is_half_done(
    daemon: Daemon,
) -> None:
    with daemon.client() as asking, daemon.client() as client, ThreadPoolExecutor(1) as other:
        with locked(daemon):
            submitting = other.submit(client.submit, ["true"])
            for _ in range(20):
                assert asking.status()["state"] == "running"
            assert not submitting.done()
        run_id = submitting.result(60).id
    assert [*run_rows(daemon.state_dir)] == [run_id]
