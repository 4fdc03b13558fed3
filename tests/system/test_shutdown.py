"""How the daemon ends: by signals, by command, gently and hard; what becomes of its runs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import event_names, is_alive, none_alive, run_rows
from tests.helpers.waiting import SLOWNESS_S, wait_for
from tests.helpers.witness import Gate, Witness

MANY = 20
GRACE_S = 300.0
"""Of runs where nobody is to wait for it."""
PROMPT_S = 30.0
"""At once, as slow machines go."""


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


# --- stop ----------------------------------------------------------------------------------------


def test_sigterm_ends_twenty_cooperative_runs_in_parallel_and_keeps_the_queue(
    folders: Daemon, witness: Witness
) -> None:
    folders.start("--slots", str(MANY))
    ids = folders.submit_scripts(witness.cooperative(), times=MANY + 5, grace_s=GRACE_S)
    pids = witness.wait_started(MANY)
    for run_id in ids[:MANY]:
        folders.wait_state(run_id, "running")
    began = time.monotonic()
    assert folders.stop(signal.SIGTERM) == 143
    assert time.monotonic() - began < 1.0 + SLOWNESS_S
    assert none_alive(pids)
    folders.assert_nothing_left()
    rows = run_rows(folders.state_dir)
    assert [rows[run_id]["outcome"] for run_id in ids[:MANY]] == ["interrupted"] * MANY
    assert {rows[run_id]["signal"] for run_id in ids[:MANY]} == {signal.SIGTERM}
    assert [rows[run_id]["state"] for run_id in ids[MANY:]] == ["queued"] * 5
    assert len(witness.lines("start")) == MANY


def test_e13_a_second_sigterm_kills_every_run_and_the_helpers_at_once(
    folders: Daemon, witness: Witness
) -> None:
    folders.start("--slots", str(MANY))
    ids = folders.submit_scripts(witness.stubborn(), times=MANY, grace_s=GRACE_S)
    pids = witness.wait_started(MANY)
    folders.send(signal.SIGTERM)
    wait_for("it is stopping", lambda: '"after": "stopping"' in folders.log_text())
    assert not none_alive(pids)
    began = time.monotonic()
    folders.send(signal.SIGTERM)
    wait_for("all runs are gone", lambda: none_alive(pids))
    assert time.monotonic() - began < 0.5 + SLOWNESS_S
    assert folders.wait() == 143
    folders.assert_nothing_left()
    rows = run_rows(folders.state_dir)
    assert {rows[run_id]["outcome"] for run_id in ids} == {"interrupted"}


def test_many_runs_that_ignore_sigterm_cost_one_grace(
    folders: Daemon, witness: Witness, is_long: bool
) -> None:
    many, grace_s = (100, 1.0) if is_long else (40, 2.5)
    folders.start("--slots", str(many))
    folders.submit_scripts(witness.stubborn(), times=many, grace_s=grace_s)
    pids = witness.wait_started(many)
    began = time.monotonic()
    assert folders.stop(signal.SIGTERM) == 143
    assert grace_s <= time.monotonic() - began < 50.0  # one after another: a hundred seconds
    assert none_alive(pids)
    folders.assert_nothing_left()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGABRT, 134)])
def test_the_exit_status_names_the_signal(
    folders: Daemon, witness: Witness, number: int, status: int
) -> None:
    folders.start("--slots", "4")
    [run_id] = folders.submit_scripts(witness.cooperative())
    witness.wait_started(1)
    assert folders.stop(number) == status
    assert run_rows(folders.state_dir)[run_id]["outcome"] == "interrupted"
    folders.assert_nothing_left()


def test_shutdown_by_command_exits_0(daemon: Daemon, witness: Witness) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    witness.wait_started(1)
    assert daemon.run("shutdown").returncode == 0
    assert daemon.wait() == 0
    row = run_rows(daemon.state_dir)[run_id]
    assert (row["outcome"], row["reason"]) == ("interrupted", "daemon_stopping: command")
    daemon.assert_nothing_left()


def test_shutdown_now_spares_nobody_a_grace(daemon: Daemon, witness: Witness) -> None:
    daemon.submit_scripts(witness.stubborn(), times=4, grace_s=GRACE_S)
    pids = witness.wait_started(4)
    assert daemon.run("shutdown", "--now").returncode == 0
    assert daemon.wait(within_s=PROMPT_S) == 0
    assert none_alive(pids)
    daemon.assert_nothing_left()


def test_shutdown_now_hastens_a_stop_that_waits_for_a_grace(
    daemon: Daemon, witness: Witness
) -> None:
    daemon.submit_scripts(witness.stubborn(), grace_s=GRACE_S)
    pids = witness.wait_started(1)
    assert daemon.run("shutdown").returncode == 0
    wait_for("it is stopping", lambda: '"after": "stopping"' in daemon.log_text())
    assert daemon.run("shutdown", "--now").returncode == 0
    assert daemon.wait(within_s=PROMPT_S) == 0
    assert none_alive(pids)


# --- drain ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signal", "setting", "command"])
def test_drain_waits_for_what_runs_and_starts_nothing(
    folders: Daemon, witness: Witness, how: str
) -> None:
    with Gate(folders.home / "gate") as gate:
        start_with_policy(folders, "drain", how)
        script = witness.patient(gate, status=3)
        ids = folders.submit_scripts(script, retry={"attempts": 1, "backoff_s": 0.0})
        ids += folders.submit_scripts(script, times=3)
        witness.wait_started(2)
        tell_to_end(folders, "drain", how)
        wait_for("it drains", lambda: '"after": "draining"' in folders.log_text())
        gate.open()
        assert folders.wait() == (0 if how == "command" else 143)
    rows = run_rows(folders.state_dir)
    assert [rows[run_id]["exit_code"] for run_id in ids] == [None, 3, None, None]
    # The first may be tried again, but not by a daemon that drains.
    assert [rows[run_id]["state"] for run_id in ids] == ["queued", "ended", "queued", "queued"]
    assert [rows[run_id]["attempt"] for run_id in ids] == [1, 1, 0, 0]
    assert len(witness.lines("start")) == 2
    folders.assert_nothing_left()


def test_a_second_signal_ends_a_drain(folders: Daemon, witness: Witness) -> None:
    folders.start("--slots", "2", "--on-signal", "drain")
    folders.submit_scripts(witness.stubborn(), grace_s=GRACE_S)
    pids = witness.wait_started(1)
    folders.send(signal.SIGTERM)
    wait_for("it drains", lambda: '"after": "draining"' in folders.log_text())
    assert folders.stop(signal.SIGTERM, within_s=PROMPT_S) == 143
    assert none_alive(pids)
    folders.assert_nothing_left()


# --- leave ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["signal", "setting", "command"])
def test_leave_lets_runs_go_on_and_the_next_daemon_adopts_them(
    folders: Daemon, witness: Witness, how: str
) -> None:
    with Gate(folders.home / "gate") as gate:
        start_with_policy(folders, "leave", how)
        ids = folders.submit_scripts(witness.patient(gate, status=3), times=2)
        pids = witness.wait_started(2)
        for run_id in ids:
            folders.wait_state(run_id, "running")
        tell_to_end(folders, "leave", how)
        assert folders.wait() == (0 if how == "command" else 143)
        assert all(map(is_alive, pids))
        folders.start("--slots", "2")
        gate.open()
        for run_id in ids:
            run = folders.wait_state(run_id, "ended")
            assert (run["exit_code"], run["attempt"]) == (3, 1)
    witness.assert_no_attempt_started_twice()
    assert len(witness.lines("end")) == 2
    assert "adopted" in event_names(folders.state_dir, ids[0])


def start_with_policy(daemon: Daemon, policy: str, how: str) -> None:
    flags = ["--slots", "2"]
    if how == "signal":
        flags += ["--on-signal", policy]
    elif how == "setting":
        config = daemon.home / "settings.toml"
        config.write_text(f'on_signal = "{policy}"\n')
        flags += ["--config", str(config)]
    daemon.start(*flags)


def tell_to_end(daemon: Daemon, policy: str, how: str) -> None:
    if how == "command":
        assert daemon.run("shutdown", f"--{policy}").returncode == 0
    else:
        daemon.send(signal.SIGTERM)


# --- what comes back -----------------------------------------------------------------------------


def test_a_restartable_run_that_a_shutdown_stopped_runs_again_after_the_restart(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        script = f"{witness.says('start')}; {gate.wait}; {witness.says('end')}"
        run_id = daemon.submit("sh", "-c", script, flags=["--restartable"])
        witness.wait_said("start")
        assert daemon.stop() == 143
        row = run_rows(daemon.state_dir)[run_id]
        assert (row["state"], row["outcome"]) == ("queued", None)
        assert "tree_empty" not in event_names(daemon.state_dir, run_id)
        daemon.start("--slots", "4")
        witness.wait_said("start", times=2)
        gate.open()
        run = daemon.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("succeeded", 2)
    assert [(line.attempt) for line in witness.lines("start")] == [1, 2]
    assert [(line.attempt) for line in witness.lines("end")] == [2]


def test_a_stopped_governor_does_not_keep_a_second_signal_waiting(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.stubborn(), grace_s=GRACE_S)
    pids = witness.wait_started(1)
    daemon.wait_state(run_id, "running")
    os.kill(daemon.claim(run_id)["pid"], signal.SIGSTOP)
    daemon.send(signal.SIGTERM)
    wait_for("it is stopping", lambda: '"after": "stopping"' in daemon.log_text())
    assert daemon.stop(signal.SIGTERM, within_s=PROMPT_S) == 143
    assert none_alive(pids)
    daemon.assert_nothing_left()
    assert run_rows(daemon.state_dir)[run_id]["outcome"] == "interrupted"


def test_a_stopped_broker_does_not_keep_the_daemon_from_ending_its_runs(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative(), grace_s=0.5)
    pids = witness.wait_started(1)
    os.kill(daemon.status()["broker"]["pid"], signal.SIGSTOP)
    assert daemon.stop(signal.SIGTERM, within_s=PROMPT_S) == 143
    assert none_alive(pids)
    daemon.assert_nothing_left()
    assert run_rows(daemon.state_dir)[run_id]["outcome"] == "interrupted"


# --- at the edges --------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_folder_is_refused_and_the_first_unharmed(
    daemon: Daemon,
) -> None:
    second = daemon.run("serve")
    assert second.returncode not in (0, 143)
    assert second.stderr == (
        f"intendant: {daemon.state_dir} is in use by a daemon with pid {daemon.pid}\n"
    )
    assert daemon.run("submit", "--wait", "--", "true").returncode == 0


def test_a_log_that_nobody_reads_any_more_harms_no_run(folders: Daemon) -> None:
    reader, writer = os.pipe()
    folders.launch_logging_to(writer)
    os.close(reader)
    os.close(writer)
    wait_for("the daemon serves", folders.serves)
    assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 7").returncode == 7
    assert folders.stop() == 143
