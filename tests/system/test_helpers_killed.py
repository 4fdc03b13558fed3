"""The daemon's helpers killed under load: they come back, and no run, client or governor minds."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from intendant.process.identity import process_stat
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive, processes_with, run_rows, zombies_of
from tests.helpers.waiting import SLOWNESS_S, wait_for
from tests.helpers.witness import Gate, Witness


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


def restarted(daemon: Daemon, helper: str, old: int) -> bool:
    found = daemon.status()[helper]
    return found["pid"] not in (None, old) and found["restarts"] == 1


def last_ready(daemon: Daemon, helper: str) -> datetime:
    """When it last served, by the daemon's log: commands that ask take their time as well."""
    event = {"broker": "broker_ready", "zygote": "launcher_ready"}[helper]
    lines = [line for line in daemon.log_text().splitlines() if f'"{event}"' in line]
    return datetime.fromisoformat(json.loads(lines[-1])["timestamp"])


@pytest.mark.parametrize("helpers", [["broker"], ["zygote"], ["broker", "zygote"]])
def test_e22_helpers_killed_under_load_are_back_within_2_s_and_harm_no_run(
    folders: Daemon, witness: Witness, helpers: list[str]
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("slots = 8\nheartbeat_s = 20\n")  # silence is noticed later
    folders.start("--config", str(config))
    script = f"{witness.says('start')}; sleep 0.2; {witness.says('end')}"
    ids = folders.submit_scripts(script, times=60)
    waiting = folders.popen("wait", "all")
    for times, helper in enumerate(helpers, start=1):
        witness.wait_said("start", times=12 * times)
        old = folders.status()[helper]["pid"]
        killed_at = datetime.now(UTC)
        os.kill(old, signal.SIGKILL)
        wait_for("it is back", partial(restarted, folders, helper, old))
        wait_for("it serves", lambda: last_ready(folders, helper) > killed_at)  # noqa: B023
        assert last_ready(folders, helper) - killed_at < timedelta(seconds=2 + SLOWNESS_S)
    out, errors = waiting.communicate(timeout=100)
    assert waiting.returncode == 0, (out, errors)
    rows = run_rows(folders.state_dir)
    assert {row["outcome"] for row in rows.values()} == {"succeeded"}
    assert sorted({line.run_id for line in witness.lines("end")}) == ids
    assert len(witness.lines("start")) == len(ids)
    witness.assert_no_attempt_started_twice()
    wait_for("no zombie is left", lambda: not zombies_of(folders.pid))


FEW = 3
"""No descriptor is free below; with none at all poll(2) would refuse to look at any."""


@pytest.mark.parametrize("helper", ["broker", "zygote"])
def test_a_helper_that_cannot_be_started_for_a_while_does_not_end_the_daemon(
    daemon: Daemon, witness: Witness, helper: str
) -> None:
    """No descriptor is to be had (getrlimit(2): RLIMIT_NOFILE): no process could be told apart."""
    [run_id] = daemon.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    old = daemon.status()[helper]["pid"]
    refused = {"broker": "broker_not_started", "zygote": "launcher_not_started"}[helper]
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FEW, limits[1]))
    os.kill(old, signal.SIGKILL)
    wait_for("several are refused", lambda: daemon.log_text().count(refused) >= 6)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
    wait_for("another is there", lambda: daemon.status()[helper]["pid"] not in (None, old))
    assert is_alive(pid)
    assert daemon.run("submit", "--wait", "--", "sh", "-c", "exit 5").returncode == 5
    assert daemon.run("cancel", str(run_id)).returncode == 0
    daemon.wait_state(run_id, "ended")
    assert "Traceback" not in daemon.log_text()


def test_a_daemon_without_descriptors_can_be_ended(daemon: Daemon) -> None:
    wait_for("the zygote is there", lambda: daemon.status()["zygote"]["pid"])
    _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (FEW, hard))
    assert daemon.stop() == 143
    daemon.assert_nothing_left()


@pytest.mark.parametrize("killed", ["broker", "daemon"])
def test_a_governor_that_stays_silent_after_a_restart_is_shown_as_disconnected(
    folders: Daemon, witness: Witness, killed: str
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("slots = 1\nheartbeat_s = 1\nliveness = 2\n")
    folders.start("--config", str(config))
    [run_id] = folders.submit_scripts(witness.cooperative())
    witness.wait_started()
    folders.wait_state(run_id, "running")
    governor = folders.claim(run_id)["pid"]
    broker = folders.status()["broker"]["pid"]
    os.kill(governor, signal.SIGSTOP)
    if killed == "broker":
        os.kill(broker, signal.SIGKILL)
    else:
        folders.kill()
        folders.start("--config", str(config))
    wait_for("it is missed", lambda: situation(folders, run_id) == "disconnected")
    os.kill(governor, signal.SIGCONT)
    wait_for("it is heard again", lambda: situation(folders, run_id) == "running")
    assert folders.show(run_id)["attempt"] == 1


def situation(daemon: Daemon, run_id: int) -> str:
    """What `explain` says, in a word; nothing while nobody answers."""
    done = daemon.run("explain", str(run_id), "--json")
    return str(json.loads(done.stdout)["code"]) if done.returncode == 0 else ""


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
    wait_for("all have ended", lambda: all_succeeded(daemon, 30))


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
    wait_for("it is back", lambda: restarted(daemon, "broker", old))
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
    zygote = daemon.ready_zygote()
    os.kill(zygote, signal.SIGSTOP)
    ids = daemon.submit_scripts(witness.says("start"), times=4)
    for run_id in ids:
        daemon.wait_state(run_id, "starting")
    os.kill(zygote, signal.SIGKILL)
    for run_id in ids:
        assert daemon.wait_state(run_id, "ended")["outcome"] == "succeeded"
    assert sorted(line.run_id for line in witness.lines("start")) == ids
    wait_for("no zombie is left", lambda: not zombies_of(daemon.pid))


def test_e15_the_daemon_leaves_runs_alone_when_no_broker_can_be_kept_alive(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=3))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        kill_every_broker(daemon)
        assert daemon.wait() == 70
        assert '"cause": "broker_lost"' in daemon.log_text()
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

    wait_for("the daemon gives up", has_given_up)
