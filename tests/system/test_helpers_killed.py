"""The daemon's helpers killed under load: they come back, and no run, client or governor minds."""

from __future__ import annotations

import os
import signal
import time

import pytest

from intendant.process.identity import process_stat
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive, processes_with, run_rows, zombies_of
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Gate, Witness


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


def restarted(daemon: Daemon, helper: str, old: int) -> bool:
    found = daemon.status()[helper]
    return found["pid"] not in (None, old) and found["restarts"] == 1


@pytest.mark.alone
@pytest.mark.parametrize("helper", ["broker", "zygote"])
def test_e22_a_helper_killed_under_load_is_back_within_2_s_and_harms_no_run(
    folders: Daemon, witness: Witness, helper: str
) -> None:
    folders.start("--slots", "8")
    ids = folders.submit_scripts(f"{witness.says('start')}; {witness.says('end')}", times=120)
    waiting = folders.popen("wait", "all")
    witness.wait_said("start", times=20)
    old = folders.status()[helper]["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for("it is back", lambda: restarted(folders, helper, old), within_s=2.0)
    out, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, (out, errors)
    rows = run_rows(folders.state_dir)
    assert {row["outcome"] for row in rows.values()} == {"succeeded"}
    assert sorted({line.run_id for line in witness.lines("end")}) == ids
    assert len(witness.lines("start")) == len(ids)
    witness.assert_no_attempt_started_twice()
    wait_for("no zombie is left", lambda: not zombies_of(folders.pid))


def test_a_client_that_submits_goes_on_over_the_death_of_the_broker(
    daemon: Daemon,
) -> None:
    broker = daemon.status()["broker"]["pid"]
    ids = []
    with daemon.client() as client:
        for number in range(30):
            if number == 10:
                os.kill(broker, signal.SIGKILL)
            ids.append(client.submit(["true"], key=f"key-{number}").id)
    assert len(set(ids)) == 30
    wait_for("all have ended", lambda: all_succeeded(daemon, 30), within_s=30.0)


def all_succeeded(daemon: Daemon, times: int) -> bool:
    outcomes = [row["outcome"] for row in run_rows(daemon.state_dir).values()]
    return outcomes == ["succeeded"] * times


def test_governors_are_under_control_again_after_the_death_of_the_broker(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    old = daemon.status()["broker"]["pid"]
    os.kill(old, signal.SIGKILL)
    wait_for("it is back", lambda: restarted(daemon, "broker", old), within_s=2.0)
    assert daemon.run("cancel", str(run_id)).returncode == 0
    run = daemon.wait_state(run_id, "ended")
    assert (run["outcome"], run["signal"]) == ("cancelled", signal.SIGTERM)
    assert not is_alive(pid)


def test_runs_end_truly_while_the_broker_is_stopped(daemon: Daemon, witness: Witness) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        broker = daemon.status()["broker"]["pid"]
        os.kill(broker, signal.SIGSTOP)
        gate.open()
        wait_for("the workload is gone", lambda: not is_alive(pid))
        wait_for("the record is there", (daemon.attempt_folder(run_id) / "exit.json").exists)
        os.kill(broker, signal.SIGCONT)
        run = daemon.wait_state(run_id, "ended")
    assert (run["exit_code"], run["outcome"]) == (3, "failed")


@pytest.mark.parametrize("who", ["broker", "daemon"])
def test_one_that_was_silent_for_longer_than_it_may_is_heard_again(
    folders: Daemon, witness: Witness, who: str
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("slots = 3\nheartbeat_s = 0.2\nliveness = 3\n")
    folders.start("--config", str(config))
    with Gate(folders.home / "gate") as gate:
        ending, staying = folders.submit_scripts(witness.patient(gate, status=3), times=2)
        [cancelled] = folders.submit_scripts(witness.cooperative())
        witness.wait_started(3)
        for run_id in (ending, staying, cancelled):
            folders.wait_state(run_id, "running")
        status = folders.status()
        silent = status["broker"]["pid"] if who == "broker" else folders.pid
        os.kill(silent, signal.SIGSTOP)
        time.sleep(2.0)  # three times what liveness allows, on purpose
        gate.open()
        wait_for("two have ended", lambda: len(witness.lines("end")) == 2)
        os.kill(silent, signal.SIGCONT)
        for run_id in (ending, staying):
            assert folders.wait_state(run_id, "ended")["exit_code"] == 3
        assert folders.run("cancel", str(cancelled)).returncode == 0
        assert folders.wait_state(cancelled, "ended")["outcome"] == "cancelled"
    assert folders.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5
    assert folders.status()["broker"]["restarts"] == 0


def test_a_zygote_killed_between_request_and_fork_costs_no_run(
    daemon: Daemon, witness: Witness
) -> None:
    zygote = daemon.status()["zygote"]["pid"]
    os.kill(zygote, signal.SIGSTOP)
    ids = daemon.submit_scripts(witness.says("start"), times=4)
    for run_id in ids:
        daemon.wait_state(run_id, "starting")
    os.kill(zygote, signal.SIGKILL)
    for run_id in ids:
        assert daemon.wait_state(run_id, "ended")["outcome"] == "succeeded"
    assert sorted(line.run_id for line in witness.lines("start")) == ids
    wait_for("no zombie is left", lambda: not zombies_of(daemon.pid))


def test_the_daemon_leaves_runs_alone_when_no_broker_can_be_kept_alive(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        kill_every_broker(daemon)
        assert daemon.wait() == 70
        assert is_alive(pid)
        daemon.start("--slots", "4")
        gate.open()
        assert daemon.wait_state(run_id, "ended")["exit_code"] == 3


def kill_every_broker(daemon: Daemon) -> None:
    """As soon as one comes to life, until the daemon gives up."""

    def has_given_up() -> bool:
        for pid in processes_with("intendant: broker"):
            stat = process_stat(pid)
            if stat is not None and stat.parent == daemon.pid:
                os.kill(pid, signal.SIGKILL)
        return daemon.running.poll() is not None

    wait_for("the daemon gives up", has_given_up, within_s=60.0)
