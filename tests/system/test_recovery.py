"""What a daemon that was killed leaves to the next: judged by rows, spool, /proc and witness."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from intendant.process.cgroup import own_cgroup
from intendant.protocol.order import cgroup_name
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import (
    attempt_rows,
    event_names,
    is_alive,
    none_alive,
    run_rows,
)
from tests.helpers.stores import check_invariants
from tests.helpers.waiting import SLOWNESS_S, wait_for
from tests.helpers.witness import Gate, Witness


@pytest.fixture
def witness(folders: Daemon) -> Witness:
    return Witness(folders.home / "witness")


def kill_daemon(daemon: Daemon) -> None:
    """SIGKILL to the daemon; its helpers must follow."""
    status = daemon.status()
    helpers = [status["broker"]["pid"], status["zygote"]["pid"], *trackers(daemon)]
    daemon.kill()
    wait_for("the helpers are gone", lambda: none_alive(helpers))


def trackers(daemon: Daemon) -> list[int]:
    """The resource tracker that multiprocessing starts beside the daemon's helpers."""
    return [pid for pid, what in daemon.processes().items() if "resource_tracker" in what]


def test_a_killed_daemons_helpers_go_with_it(daemon: Daemon) -> None:
    wait_for("the zygote is there", lambda: daemon.status()["zygote"]["pid"])
    kill_daemon(daemon)


# --- the queue -----------------------------------------------------------------------------------


def test_e22_two_hundred_queued_runs_outlive_a_kill_and_all_end_in_their_order(
    folders: Daemon, witness: Witness, is_long: bool
) -> None:
    """In the short form most of them are cancelled after the restart."""
    folders.start("--slots", "1")
    with Gate(folders.home / "gate") as gate:
        [first] = folders.submit_scripts(witness.patient(gate))
        witness.wait_started()
        low = folders.submit_scripts(witness.says("start"), times=100)
        high = folders.submit_scripts(witness.says("start"), times=100, priority=5)
        kill_daemon(folders)
        before = run_rows(folders.state_dir)
        assert {before[run_id]["state"] for run_id in low + high} == {"queued"}
        folders.start("--slots", "1")
        cancelled = [] if is_long else high[10:-10] + low[10:-10]
        if cancelled:
            assert folders.run("cancel", ",".join(map(str, cancelled))).returncode == 0
        gate.open()
        wait_for("all have ended", lambda: have_ended(folders))
    rows = run_rows(folders.state_dir)
    assert {rows[run_id]["outcome"] for run_id in cancelled} <= {"cancelled"}
    left = [run_id for run_id in [first, *high, *low] if run_id not in cancelled]
    assert {rows[run_id]["outcome"] for run_id in left} == {"succeeded"}
    assert [line.run_id for line in witness.lines("start")] == left
    witness.assert_no_attempt_started_twice()
    check_invariants(folders.state_dir / "intendant.db")


def test_many_kills_lose_no_run_and_start_no_attempt_twice(
    folders: Daemon, witness: Witness
) -> None:
    folders.start("--slots", "4")
    ids = folders.submit_scripts(f"{witness.says('start')}; {witness.says('end')}", times=80)
    for round_ in range(1, 5):
        witness.wait_said("start", times=15 * round_)
        folders.kill()
        folders.start("--slots", "4")
    wait_for("all have ended", lambda: have_ended(folders))
    rows = run_rows(folders.state_dir)
    assert [*rows] == ids
    # A run that was claimed but lost its record is told as such; that takes a killed governor.
    assert {row["outcome"] for row in rows.values()} == {"succeeded"}
    assert sorted({line.run_id for line in witness.lines("end")}) == ids
    witness.assert_no_attempt_started_twice()
    check_invariants(folders.state_dir / "intendant.db")
    wait_governors_gone(folders)


def wait_governors_gone(daemon: Daemon) -> None:
    """Return once every governor has gone, which each does soon after the end of its run."""

    def are_gone() -> bool:
        return not any("intendant: governor" in what for what in daemon.processes().values())

    wait_for("the governors are gone", are_gone)


def have_ended(daemon: Daemon) -> bool:
    return all(row["state"] == "ended" for row in run_rows(daemon.state_dir).values())


# --- runs that live ------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_run_that_outlives_the_daemon_is_recorded_with_its_true_exit_code(
    folders: Daemon, witness: Witness, when: str
) -> None:
    folders.start("--slots", "3")
    with Gate(folders.home / "gate") as gate:
        ids = folders.submit_scripts(witness.patient(gate, status=7), times=3)
        pids = witness.wait_started(3)
        for run_id in ids:
            folders.wait_state(run_id, "running")
        kill_daemon(folders)
        assert all(map(is_alive, pids))
        if when == "before":
            gate.open()
            for run_id in ids:
                exit_file = folders.attempt_folder(run_id) / "exit.json"
                wait_for("the exit record is there", exit_file.exists)
            folders.start("--slots", "3")
        if when == "during":
            folders.launch("--slots", "3")
            gate.open()
            wait_for("the daemon serves", folders.serves)
        if when == "after":
            folders.start("--slots", "3")
            gate.open()
        wait_for("all have ended", lambda: have_ended(folders))
    rows = run_rows(folders.state_dir)
    assert {(row["exit_code"], row["outcome"]) for row in rows.values()} == {(7, "failed")}
    assert {row["attempt"] for row in rows.values()} == {1}
    assert len(witness.lines("end")) == 3
    wait_governors_gone(folders)
    assert folders.stop() == 143
    folders.assert_nothing_left()


def test_an_adopted_run_can_be_cancelled(daemon: Daemon, witness: Witness) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    daemon.kill()
    daemon.start("--slots", "4")
    assert is_alive(pid)
    assert daemon.run("cancel", str(run_id)).returncode == 0
    assert daemon.wait_state(run_id, "ended")["outcome"] == "cancelled"
    wait_for("the workload is gone", lambda: not is_alive(pid))


def test_a_cancel_that_the_daemon_could_not_pass_on_is_passed_on_by_the_next(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    governor = daemon.claim(run_id)["pid"]
    os.kill(governor, signal.SIGSTOP)
    assert daemon.run("cancel", str(run_id)).returncode == 0
    daemon.kill()
    os.kill(governor, signal.SIGCONT)
    daemon.start("--slots", "4")
    run = daemon.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("cancelled", 1)
    wait_for("the workload is gone", lambda: not is_alive(pid))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("how", "few", "many"), [("kill", 5, 20), ("leave", 3, 8)])
def test_many_restarts_during_one_run_leave_it_its_first_attempt_and_all_its_output(
    folders: Daemon, witness: Witness, how: str, few: int, many: int, is_long: bool
) -> None:
    times = many if is_long else few
    folders.start("--slots", "1", "--on-signal", "leave")
    enough = folders.home / "enough"
    script = (
        f"{witness.says('start')}; n=0; while [ ! -e {enough} ]; "
        "do n=$((n+1)); echo $n; sleep 0.05; done; echo end; exit 5"
    )
    [run_id] = folders.submit_scripts(script)
    witness.wait_started()
    for restarts in range(1, times + 1):
        if how == "kill":
            folders.kill()
        else:
            assert folders.stop() == 143
        folders.launch("--slots", "1", "--on-signal", "leave")
        wait_for("it serves again", partial(has_served, folders, times=restarts + 1))
        wait_for("the run is adopted", partial(is_adopted, folders, run_id, times=restarts))
    assert folders.wait_state(run_id, "running")["attempt"] == 1
    enough.touch()
    run = folders.wait_state(run_id, "ended")
    assert (run["exit_code"], run["attempt"]) == (5, 1)
    *numbers, last = folders.run("logs", str(run_id)).stdout.splitlines()
    assert last == "end"
    assert [int(line) for line in numbers] == [*range(1, len(numbers) + 1)]
    assert len(numbers) > times
    assert len(witness.lines("start")) == 1
    assert is_adopted(folders, run_id, times=times)


def is_adopted(daemon: Daemon, run_id: int, *, times: int) -> bool:
    return event_names(daemon.state_dir, run_id).count("adopted") == times


def has_served(daemon: Daemon, *, times: int) -> bool:
    return daemon.log_text().count("daemon_ready") == times


def test_thirty_runs_are_right_at_once_after_a_kill_obey_again_and_lose_no_output(
    folders: Daemon, witness: Witness
) -> None:
    """Half of them are told to end by the new daemon, half end by themselves."""
    folders.start("--slots", "30")
    told = f"trap 'echo told; exit 7' TERM; {witness.says('start')}; {COUNT}; done"
    with Gate(folders.home / "gate") as gate:
        obeying = folders.submit_scripts(told, times=15)
        waiting = folders.submit_scripts(
            f"{witness.says('start')}; echo before; {gate.wait}; echo after; exit 9", times=15
        )
        witness.wait_started(30)
        wait_for("all are running", lambda: states(folders) == {"running"})
        folders.kill()
        folders.start("--slots", "30")
        assert states(folders) == {"running"}
        assert folders.run("cancel", ",".join(map(str, obeying))).returncode == 0
        wait_for("the told have ended", lambda: ended(folders) >= {*obeying})
        gate.open()
        wait_for("all have ended", lambda: have_ended(folders))
    rows = run_rows(folders.state_dir)
    assert {(rows[run_id]["outcome"], rows[run_id]["exit_code"]) for run_id in obeying} == {
        ("cancelled", 7)
    }
    assert {(rows[run_id]["outcome"], rows[run_id]["exit_code"]) for run_id in waiting} == {
        ("failed", 9)
    }
    assert {row["attempt"] for row in rows.values()} == {1}
    for run_id in waiting:
        assert output(folders, run_id) == ["before", "after"]
    for run_id in obeying:
        *numbers, last = output(folders, run_id)
        assert last == "told"
        assert [int(line) for line in numbers] == [*range(1, len(numbers) + 1)]


COUNT = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.2 & wait"


def states(daemon: Daemon) -> set[str]:
    return {row["state"] for row in run_rows(daemon.state_dir).values()}


def ended(daemon: Daemon) -> set[int]:
    rows = run_rows(daemon.state_dir)
    return {run_id for run_id, row in rows.items() if row["state"] == "ended"}


def output(daemon: Daemon, run_id: int) -> list[str]:
    return (daemon.attempt_folder(run_id) / "stdout.log").read_text().splitlines()


# --- what stands in the spool decides ------------------------------------------------------------


def test_an_exit_record_is_believed_before_anybody_is_judged(
    daemon: Daemon, witness: Witness
) -> None:
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate, status=4))
        witness.wait_started()
        daemon.wait_state(run_id, "running")
        governor = daemon.claim(run_id)["pid"]
        daemon.kill()
        gate.open()
        wait_for("the record is there", (daemon.attempt_folder(run_id) / "exit.json").exists)
        with suppress(ProcessLookupError):  # it may have gone by itself already
            os.kill(governor, signal.SIGKILL)
        assert run_rows(daemon.state_dir)[run_id]["state"] == "running"
        daemon.start("--slots", "4")
    run = daemon.show(run_id)
    assert (run["state"], run["outcome"], run["exit_code"]) == ("ended", "failed", 4)


def test_an_attempt_that_nobody_claimed_is_burnt_and_its_run_starts_once(
    folders: Daemon, witness: Witness
) -> None:
    with suppress(AssertionError):  # the daemon dies before it can tell that it serves
        folders.start("--slots", "1", environment={"INTENDANT_CRASHPOINT": "executor.granted:1"})
    [run_id] = submit_to_a_dying_daemon(folders, witness.says("start"))
    folders.wait()
    assert run_rows(folders.state_dir)[run_id]["state"] == "starting"
    assert not (folders.attempt_folder(run_id) / "claim").exists()
    folders.start("--slots", "1")
    run = folders.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("succeeded", 2)
    claim = json.loads((folders.attempt_folder(run_id) / "claim").read_bytes())
    assert claim["kind"] == "tombstone"
    assert [row["outcome"] for row in attempt_rows(folders.state_dir, run_id)] == [
        "interrupted",
        "succeeded",
    ]
    assert [line.attempt for line in witness.lines("start")] == [2]


def test_a_daemon_that_dies_again_and_again_at_the_start_of_a_run_fails_no_run(
    folders: Daemon, witness: Witness
) -> None:
    ids: list[int] = []
    for _ in range(6):  # a run whose launch fails so often by itself would have failed
        folders.launch("--slots", "1", environment={"INTENDANT_CRASHPOINT": "executor.granted"})
        if not ids:
            wait_for("it listens", (folders.runtime_dir / "client.sock").exists)
            ids = submit_to_a_dying_daemon(folders, witness.says("start"))
        folders.wait()
    folders.start("--slots", "1")
    run = folders.wait_state(ids[0], "ended")
    assert (run["outcome"], run["attempt"]) == ("succeeded", 7)
    assert [line.attempt for line in witness.lines("start")] == [7]


def submit_to_a_dying_daemon(daemon: Daemon, script: str) -> list[int]:
    """Submit one run; the daemon may die before or after it has answered."""
    daemon.run("submit", "--", "sh", "-c", script)
    return [*run_rows(daemon.state_dir)]


def test_e8_a_governor_stopped_before_its_claim_starts_nothing_once_the_attempt_is_burnt(
    folders: Daemon, witness: Witness
) -> None:
    folders.start("--slots", "1")
    zygote = folders.ready_zygote()
    os.kill(zygote, signal.SIGSTOP)  # whatever is launched now comes to life only after SIGCONT
    [run_id] = folders.submit_scripts(witness.says("start"))
    folders.wait_state(run_id, "starting")
    folders.kill()
    folders.start("--slots", "1")
    with suppress(ProcessLookupError):
        os.kill(zygote, signal.SIGCONT)
    run = folders.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("succeeded", 2)
    wait_for("the old zygote is gone", lambda: not is_alive(zygote))
    assert [line.attempt for line in witness.lines("start")] == [2]


def test_a_governor_stopped_between_ready_and_claim_starts_nothing_after_a_restart(
    folders: Daemon, witness: Witness
) -> None:
    stopped = folders.home / "stopped"
    armed = f"governor.start_asked:1:{stopped}:SIGSTOP"
    folders.start("--slots", "1", environment={"INTENDANT_CRASHPOINT": armed})
    [run_id] = folders.submit_scripts(witness.says("start"))
    wait_for("the governor is about to claim", stopped.exists)
    [governor] = governors(folders)
    folders.kill()
    folders.start("--slots", "1")
    assert folders.wait_state(run_id, "ended")["outcome"] == "succeeded"
    os.kill(governor, signal.SIGCONT)
    wait_for("the late governor is gone", lambda: not is_alive(governor))
    assert [line.attempt for line in witness.lines("start")] == [2]
    log = (folders.attempt_folder(run_id, 1) / "governor.log").read_text()
    assert "attempt_lost" in log
    check_invariants(folders.state_dir / "intendant.db")


def test_a_claimed_attempt_is_waited_for_however_late_it_answers_its_start(
    folders: Daemon, witness: Witness
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("slots = 2\nstart_deadline_s = 3\n")
    armed = "governor.claimed:1::SIGSTOP"
    folders.start("--config", str(config), environment={"INTENDANT_CRASHPOINT": armed})
    wait_for("governors can start", lambda: "launcher_ready" in folders.log_text())
    ids = [
        folders.submit("sh", "-c", f"{witness.says('start')}; {rest}")
        for rest in ("exit 6", "sleep 600")
    ]
    for run_id in ids:  # the broker would miss them only later
        wait_for("it is missed", partial(is_missed, folders, run_id))
        assert folders.show(run_id)["state"] == "starting"
    attempts = [folders.show(run_id)["attempt"] for run_id in ids]
    assert folders.run("cancel", str(ids[1])).returncode == 0
    for governor in governors(folders):
        os.kill(governor, signal.SIGCONT)
    runs = [folders.wait_state(run_id, "ended") for run_id in ids]
    assert [run["outcome"] for run in runs] == ["failed", "cancelled"]
    assert [run["attempt"] for run in runs] == attempts
    assert runs[0]["exit_code"] == 6
    witness.assert_no_attempt_started_twice()


def is_missed(daemon: Daemon, run_id: int) -> bool:
    return "disconnected" in presence(daemon, run_id)


def governors(daemon: Daemon) -> list[int]:
    """The governors that live, by their titles."""
    found = daemon.processes().items()
    return [pid for pid, what in found if what.startswith("intendant: governor")]


# --- governors -----------------------------------------------------------------------------------


def test_e22_a_killed_governors_run_is_interrupted_and_its_tree_gone(
    folders: Daemon, witness: Witness
) -> None:
    config = folders.home / "settings.toml"
    config.write_text("heartbeat_s = 60\n")  # silence is noticed later
    folders.start("--config", str(config))
    [run_id] = folders.submit_scripts(witness.stubborn())
    [pid] = witness.wait_started()
    began = time.monotonic()
    os.kill(folders.claim(run_id)["pid"], signal.SIGKILL)
    wait_for("the tree is gone", lambda: not is_alive(pid))
    assert time.monotonic() - began < 2.0 + SLOWNESS_S
    run = folders.wait_state(run_id, "ended")
    assert (run["outcome"], run["reason"], run["exit_code"]) == (
        "interrupted",
        "governor_lost",
        None,
    )


def test_a_killed_governors_restartable_run_starts_again_after_its_tree_is_gone(
    daemon: Daemon, witness: Witness
) -> None:
    script = f"{witness.says('start')}; [ $INTENDANT_ATTEMPT = 2 ] || exec sleep 600"
    run_id = daemon.submit("sh", "-c", script, flags=["--restartable"])
    [pid] = witness.wait_started()
    os.kill(daemon.claim(run_id)["pid"], signal.SIGKILL)
    run = daemon.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("succeeded", 2)
    assert not is_alive(pid)


def test_a_governor_killed_while_no_daemon_watched_leaves_no_tree_behind(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.stubborn())
    script = f"[ $INTENDANT_ATTEMPT = 2 ] || {{ {witness.stubborn()}; }}"
    restartable_id = daemon.submit("sh", "-c", script, flags=["--restartable"])
    pids = witness.wait_started(2)
    governors = [daemon.claim(each)["pid"] for each in (run_id, restartable_id)]
    daemon.kill()
    for governor in governors:
        os.kill(governor, signal.SIGKILL)
    wait_for("the governors are gone", lambda: not any(map(is_alive, governors)))
    daemon.start("--slots", "4")
    run = daemon.wait_state(run_id, "ended")
    assert run["outcome"] == "interrupted"
    assert run["reason"].startswith("governor_lost")
    again = daemon.wait_state(restartable_id, "ended")
    assert (again["outcome"], again["attempt"]) == ("succeeded", 2)
    assert not any(map(is_alive, pids))


def test_a_stopped_governors_run_is_not_restarted_and_goes_on_after_sigcont(
    folders: Daemon, witness: Witness
) -> None:
    """A minute where a governor is missed after 15 s: four times as long as that takes."""
    config = folders.home / "settings.toml"
    config.write_text("slots = 2\nheartbeat_s = 0.2\nliveness = 3\n")
    folders.start("--config", str(config))
    with Gate(folders.home / "gate") as gate:
        [run_id] = folders.submit_scripts(witness.patient(gate, status=6))
        witness.wait_started()
        folders.wait_state(run_id, "running")
        governor = folders.claim(run_id)["pid"]
        os.kill(governor, signal.SIGSTOP)
        stopped_at = time.monotonic()
        wait_for("it is missed", lambda: presence(folders, run_id)[-1:] == ["disconnected"])
        folders.kill()  # nor does another daemon take a stopped governor for a dead one
        folders.start("--config", str(config))
        assert folders.show(run_id)["state"] == "running"
        assert folders.submit_scripts("true") == [run_id + 1]
        folders.wait_state(run_id + 1, "ended")
        wait_for(
            "it is missed again",
            lambda: presence(folders, run_id)[-2:] == ["adopted", "disconnected"],
        )
        wait_for("it was stopped for long", lambda: time.monotonic() > stopped_at + 4 * 3 * 0.2)
        assert folders.show(run_id)["state"] == "running"
        os.kill(governor, signal.SIGCONT)
        wait_for("it is heard again", lambda: presence(folders, run_id)[-1:] == ["reconnected"])
        gate.open()
        run = folders.wait_state(run_id, "ended")
    assert (run["exit_code"], run["attempt"]) == (6, 1)
    assert len(witness.lines("start")) == 1


def presence(daemon: Daemon, run_id: int) -> list[str]:
    """When the run's governor was taken up, missed and heard again, in order."""
    ours = ("adopted", "disconnected", "reconnected")
    return [name for name in event_names(daemon.state_dir, run_id) if name in ours]


def test_another_boots_claim_signals_nobody(daemon: Daemon, witness: Witness) -> None:
    """After a reboot the claim's pid may be anybody's: here it is that of a bystander."""
    with Gate(daemon.home / "gate") as gate:
        [run_id] = daemon.submit_scripts(witness.patient(gate))
        [pid] = witness.wait_started()
        daemon.wait_state(run_id, "running")
        daemon.kill()
        path = daemon.attempt_folder(run_id) / "claim"
        claim = json.loads(path.read_bytes())
        path.write_text(json.dumps(claim | {"boot_id": "another", "cgroup": None}))
        daemon.start("--slots", "4")
        run = daemon.show(run_id)
        assert (run["outcome"], run["reason"]) == ("interrupted", "host_rebooted")
        assert is_alive(pid)
        assert is_alive(claim["pid"])
        gate.open()
        wait_for("the bystanders are gone", lambda: none_alive([pid, claim["pid"]]))


def test_a_signal_before_the_daemon_serves_concerns_the_runs_that_it_found(
    daemon: Daemon, witness: Witness
) -> None:
    [run_id] = daemon.submit_scripts(witness.cooperative())
    [pid] = witness.wait_started()
    daemon.wait_state(run_id, "running")
    daemon.kill()
    daemon.log.write_text("")
    daemon.launch("--slots", "4")
    wait_for("it adopts the run", lambda: "governor_adopted" in daemon.log_text())
    wait_for("it heeds signals", lambda: heeds_sigterm(daemon.pid))
    assert daemon.stop() == 143
    assert not is_alive(pid)
    row = run_rows(daemon.state_dir)[run_id]
    assert (row["outcome"], row["reason"]) == ("interrupted", "daemon_stopping: sigterm")


def heeds_sigterm(pid: int) -> bool:
    """Whether the process has a handler for it (proc_pid_status(5): SigCgt)."""
    status = Path(f"/proc/{pid}/status").read_text()
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) & 1 << (signal.SIGTERM - 1))


def test_an_attempt_burnt_by_a_crash_leaves_no_cgroup(folders: Daemon, witness: Witness) -> None:
    folders.start("--slots", "1", environment={"INTENDANT_CRASHPOINT": "governor.start_asked"})
    [run_id] = folders.submit_scripts(witness.says("start"))
    run = folders.wait_state(run_id, "ended")
    assert run["outcome"] == "failed"
    assert run["reason"].startswith("launch_failed")
    attempts = attempt_rows(folders.state_dir, run_id)
    home = own_cgroup()
    if home is not None:
        names = [
            cgroup_name(f"governor.{run_id}.{row['attempt']}", row["token_sha256"])
            for row in attempts
        ]
        assert not any((home.path / name).exists() for name in names)
    assert not witness.lines()
