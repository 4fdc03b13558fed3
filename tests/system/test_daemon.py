"""The daemon as a whole: what it says of itself, how it ends, what it can be told meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from intendant.client.client import Client
from tests.helpers.daemon import Daemon
from tests.helpers.keys import Keys, listening
from tests.helpers.processes import settable
from tests.helpers.waiting import SLOWNESS_S, wait_for

STATUS = {
    "version", "protocol_version", "pid", "state", "cause", "started_at", "slots", "live", "runs",
    "queues", "broker", "zygote", "launcher", "tree_method", "endpoints", "state_dir",
    "runtime_dir",
}  # fmt: skip
RUN = [
    "id", "name", "kind", "state", "outcome", "reason", "exit_code", "signal", "attempt", "queue",
    "priority", "account", "submitted_at", "started_at", "finished_at", "spec",
]  # fmt: skip


# --- what it says --------------------------------------------------------------------------------


def test_the_status_has_every_field_and_they_are_true(served: Daemon) -> None:
    status = served.json("status")

    assert status.keys() | {"protocol_version"} >= STATUS
    assert (status["pid"], status["state"], status["cause"]) == (served.pid, "running", None)
    assert status["slots"] == 4
    assert set(status["runs"]) == {
        "held", "queued", "starting", "running", "stopping", "ended"
    }  # fmt: skip
    assert status["endpoints"][1] == f"ipc://{served.runtime_dir}/client.sock"
    assert (status["state_dir"], status["runtime_dir"]) == (
        str(served.state_dir), str(served.runtime_dir),
    )  # fmt: skip
    for role in ("broker", "zygote"):
        assert status[role]["restarts"] == 0
        assert psutil.Process(status[role]["pid"]).ppid() == served.pid


def test_e3_the_list_tells_the_waiting_from_the_running(served: Daemon) -> None:
    held = served.submit("true", flags=["--hold", "-n", "waits"])
    running = served.submit("sleep", "600", flags=["-n", "runs"])
    served.wait_state(running, "running")

    runs = {run["id"]: run for run in served.json("ls")}

    assert list(runs[running]) == RUN
    assert (runs[held]["state"], runs[held]["started_at"]) == ("held", None)
    assert (runs[running]["state"], runs[running]["attempt"]) == ("running", 1)
    assert runs[running]["started_at"] >= runs[running]["submitted_at"]
    assert served.claim(running)["pid"] in psutil.pids()
    served.run("cancel", f"{held},{running}")


def test_times_are_rfc_3339_in_utc_and_what_is_absent_is_null(served: Daemon) -> None:
    run = json.loads(served.run("submit", "--wait", "--json", "--", "true").stdout)

    assert all(run[key].endswith("Z") for key in ("submitted_at", "started_at", "finished_at"))
    assert (run["name"], run["reason"], run["signal"]) == (None, None, None)


def test_the_list_can_be_narrowed(served: Daemon) -> None:
    served.run("queue", "set", "gpu", "--slots", "2")
    good = served.submit("true", flags=["-q", "gpu"])
    bad = served.submit("false", flags=["-q", "gpu"])
    held = served.submit("true", flags=["-q", "gpu", "--hold"])
    for run_id in (good, bad):
        served.wait_state(run_id, "ended")

    def listed(*flags: str) -> list[int]:
        return [run["id"] for run in served.json("ls", "-q", "gpu", *flags)]

    assert listed() == [held, bad, good]
    assert listed("--state", "held") == [held]
    assert listed("--state", "ended", "--state", "held") == [held, bad, good]
    assert listed("--outcome", "failed") == [bad]
    assert listed("--outcome", "failed", "--outcome", "succeeded") == [bad, good]
    assert listed("--limit", "1") == [held]
    assert listed("--all") == [held, bad, good]
    assert [run["id"] for run in served.json("ls", "-q", "default", "--all")] != []
    served.run("cancel", str(held))


def test_a_run_is_shown_with_its_attempts_and_its_folder(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "exit 3", flags=["-n", "shown", "--priority", "7"])
    served.wait_state(run_id, "ended")

    text = served.run("show", str(run_id)).stdout

    for part in ("shown", "failed (3)", "exit_code: 3", "priority 7", f"spool/{run_id}"):
        assert part in text


def test_a_table_for_people_is_one_line_for_each_run(served: Daemon) -> None:
    run_id = served.submit("echo", "one\nline", "\x1b[31mred")
    served.wait_state(run_id, "ended")

    lines = served.run("ls", "--limit", "1").stdout.splitlines()

    assert len(lines) == 2
    assert lines[1].startswith(f"{run_id} ")
    assert "\x1b" not in lines[1]


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["show", "424242"], 1, "run_not_found"),
        (["queue", "pause", "nowhere"], 1, "queue_not_found"),
        (["wait", "x"], 2, "usage"),
        (["submit", "none.toml"], 2, "settings_error"),
        (["--endpoint", "ipc:///nowhere/client.sock", "ls"], 69, "unreachable"),
    ],
)
def test_in_json_mode_an_error_is_one_object_on_stderr(
    served: Daemon, arguments: list[str], status: int, code: str
) -> None:
    done = served.run(*arguments, "--json")

    assert (done.returncode, done.stdout) == (status, "")
    error = json.loads(done.stderr)["error"]
    assert error["code"] == code
    assert error["message"]


def test_e19_the_daemon_logs_lines_of_json_that_name_their_role(served: Daemon) -> None:
    served.run("submit", "--wait", "--", "true")

    lines = [json.loads(line) for line in served.log_text().splitlines()]

    assert {"executor", "broker"} <= {line["role"] for line in lines}
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)


def test_e19_a_governor_logs_to_its_attempts_folder_with_run_and_attempt(served: Daemon) -> None:
    run_id = int(served.run("submit", "--wait", "--", "true").stdout)

    text = (served.attempt_folder(run_id) / "governor.log").read_text()

    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    assert {(line["run_id"], line["attempt"]) for line in lines} == {(run_id, 1)}


# --- what it is made of --------------------------------------------------------------------------


def test_e6_each_run_has_a_governor_and_a_process_group_of_its_own(daemon: Daemon) -> None:
    ids = [daemon.submit("sleep", "600") for _ in range(3)]
    for run_id in ids:
        daemon.wait_state(run_id, "running")

    governors = [psutil.Process(daemon.claim(run_id)["pid"]) for run_id in ids]
    workloads = [governor.children()[0] for governor in governors]

    assert len({os.getsid(governor.pid) for governor in governors}) == 3
    assert all(os.getsid(governor.pid) == governor.pid for governor in governors)
    assert all(governor.ppid() == daemon.pid for governor in governors)
    assert all(os.getpgid(workload.pid) == workload.pid for workload in workloads)


def test_e6_a_workload_ignores_and_blocks_no_signal_and_inherits_no_descriptor(
    served: Daemon,
) -> None:
    run_id = served.submit("sleep", "600")
    served.wait_state(run_id, "running")
    [workload] = psutil.Process(served.claim(run_id)["pid"]).children()

    proc = Path(f"/proc/{workload.pid}")
    files = {int(entry.name): str(entry.readlink()) for entry in (proc / "fd").iterdir()}
    masks = dict(line.split(":\t") for line in (proc / "status").read_text().splitlines())

    assert files == {
        0: "/dev/null",
        1: str(served.attempt_folder(run_id) / "stdout.log"),
        2: str(served.attempt_folder(run_id) / "stderr.log"),
    }
    assert settable(int(masks["SigIgn"], 16)) == set()
    assert int(masks["SigBlk"], 16) == 0
    served.run("cancel", str(run_id))


def test_e15_broker_and_zygote_are_processes_of_their_own_in_sessions_of_their_own(
    served: Daemon,
) -> None:
    status = served.status()

    pids = [served.pid, status["broker"]["pid"], status["zygote"]["pid"]]

    assert len({os.getsid(pid) for pid in pids}) == 3


# --- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "cause", "status"),
    [
        (signal.SIGINT, "sigint", 130),
        (signal.SIGTERM, "sigterm", 143),
        (signal.SIGABRT, "sigabrt", 134),
    ],
    ids=["SIGINT", "SIGTERM", "SIGABRT"],
)
def test_e13_each_signal_has_its_own_cause_and_exit_status(
    daemon: Daemon, number: int, cause: str, status: int
) -> None:
    assert daemon.stop(number) == status

    assert f'"cause": "{cause}"' in daemon.log_text()
    daemon.assert_nothing_left()
    assert [path.name for path in daemon.runtime_dir.iterdir()] == ["daemon.lock"]


def test_e14_an_idle_daemon_is_gone_at_once(daemon: Daemon) -> None:
    began = time.monotonic()
    daemon.stop()

    assert time.monotonic() - began < 0.2 + SLOWNESS_S
    daemon.assert_nothing_left()


def test_e14_a_cooperative_run_is_gone_with_the_daemon_within_a_second(daemon: Daemon) -> None:
    run_id = daemon.submit("sleep", "600", flags=["--grace", "5m"])
    daemon.wait_state(run_id, "running")

    began = time.monotonic()
    status = daemon.stop()

    assert time.monotonic() - began < 1.0 + SLOWNESS_S
    assert status == 143
    daemon.assert_nothing_left()


def test_e11_a_shutdown_from_outside_is_answered_logged_and_ends_the_runs(daemon: Daemon) -> None:
    run_id = daemon.submit("sleep", "600")
    daemon.wait_state(run_id, "running")

    done = daemon.run("shutdown")

    assert done.returncode == 0
    assert daemon.wait() == 0
    log = daemon.log_text()
    assert "shutdown_requested" in log
    assert '"cause": "command"' in log
    daemon.start()
    run = daemon.show(run_id)
    assert (run["outcome"], run["reason"]) == ("interrupted", "daemon_stopping: command")


def test_e11_shutting_down_again_is_no_error_and_new_runs_are_refused(daemon: Daemon) -> None:
    script = "trap '' TERM; touch ready; until test -e go; do sleep 0.05; done"
    daemon.submit("sh", "-c", script, flags=["--grace", "1m"])
    wait_for("it runs", (daemon.home / "ready").exists)

    first = daemon.run("shutdown")
    wait_for("it stops", lambda: daemon.status()["state"] == "stopping")
    second = daemon.run("shutdown")
    refused = daemon.run("submit", "--json", "--", "true")
    (daemon.home / "go").touch()

    assert (first.returncode, second.returncode) == (0, 0)
    assert second.stdout == "stopping\n"
    assert json.loads(refused.stderr)["error"]["code"] == "shutting_down"
    assert daemon.wait() == 0


def test_e11_the_answer_to_a_shutdown_arrives_although_the_daemon_ends(folders: Daemon) -> None:
    for _ in range(3):
        folders.start()
        with folders.client() as client:
            assert client.shutdown() in ("running", "stopping", "exited")
        assert folders.wait() == 0


def test_e4_a_daemon_stays_when_there_is_nothing_left_to_do(daemon: Daemon) -> None:
    daemon.run("submit", "--wait", "--", "true")

    assert daemon.run("submit", "--wait", "--", "true").returncode == 0
    assert daemon.running.poll() is None


# --- what it can be told meanwhile ---------------------------------------------------------------


def test_sighup_applies_slots_and_queues(folders: Daemon) -> None:
    settings = written(folders, "slots = 1\n[queues.gpu]\nslots = 1\n")
    folders.start("--config", str(settings))
    ids = [folders.submit("sleep", "600") for _ in range(3)]
    folders.wait_state(ids[0], "running")

    written(folders, "slots = 3\n[queues.gpu]\nslots = 5\n[queues.new]\nslots = 2\n")
    folders.send(signal.SIGHUP)

    for run_id in ids:
        folders.wait_state(run_id, "running")
    assert folders.status()["slots"] == 3
    queues = {queue["name"]: queue["slots"] for queue in folders.json("queue", "ls")}
    assert queues == {"default": None, "gpu": 5, "new": 2}


@pytest.mark.parametrize("text", ["slots = 'many'\n", "slots = 9\nqueus = 3\n", "slots = [\n"])
def test_sighup_with_a_faulty_file_changes_nothing_and_says_why(folders: Daemon, text: str) -> None:
    settings = written(folders, "slots = 2\n")
    folders.start("--config", str(settings))

    written(folders, text)
    folders.send(signal.SIGHUP)
    wait_for("it is said", lambda: "settings_refused" in folders.log_text())

    assert folders.status()["slots"] == 2
    assert str(settings) in folders.log_text()
    assert folders.run("submit", "--wait", "--", "true").returncode == 0


def test_sighup_does_not_end_a_daemon_that_is_starting(folders: Daemon) -> None:
    folders.launch()
    title = Path(f"/proc/{folders.running.pid}/cmdline")
    wait_for("it begins", lambda: title.read_bytes().startswith(b"intendant: executor"))
    folders.send(signal.SIGHUP)

    wait_for("it serves", folders.serves)


def test_sighup_says_what_needs_a_restart(folders: Daemon) -> None:
    settings = written(folders, "slots = 2\n")
    folders.start("--config", str(settings))

    written(folders, "slots = 3\nheartbeat_s = 1.0\n")
    folders.send(signal.SIGHUP)
    wait_for("it is applied", lambda: folders.status()["slots"] == 3)

    [warning] = [line for line in folders.log_text().splitlines() if "needs_restart" in line]
    assert json.loads(warning)["key"] == "heartbeat_s"


def test_flags_beat_the_environment_which_beats_the_file(folders: Daemon) -> None:
    settings = written(folders, "slots = 1\n")
    environment = {"INTENDANT_SLOTS": "2"}

    folders.start("--config", str(settings), environment=environment)
    assert folders.status()["slots"] == 2
    folders.stop()

    folders.start("--config", str(settings), "--slots", "3", environment=environment)
    assert folders.status()["slots"] == 3


# --- over tcp ------------------------------------------------------------------------------------


def test_a_run_from_afar_gets_the_daemons_environment(folders: Daemon) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann")
    endpoint = listening(folders, keys, environment={"WHOSE": "the daemon's", "MINE": "no"})
    with_endpoint = keys.flags("ann", endpoint)

    script = 'printf "%s %s" "$WHOSE" "$MINE"'
    done = folders.run(
        *with_endpoint, "submit", "--wait", "--env", "MINE=yes", "--", "sh", "-c", script,
        environment={b"WHOSE": b"the client's"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert folders.run(*with_endpoint, "logs", "last").stdout == "the daemon's yes"


def test_the_endpoint_and_the_keys_can_come_from_the_environment(folders: Daemon) -> None:
    keys = Keys(folders.home)
    keys.authorize("ann")
    endpoint = listening(folders, keys)
    key_file = str(folders.home / "ann.key")

    with Client(endpoint, key_file=key_file, server_key=keys.server.public) as client:
        assert client.submit(["true"]).wait()["outcome"] == "succeeded"
    named = {"ENDPOINT": endpoint, "KEY_FILE": key_file, "SERVER_KEY": keys.server.public}
    environment = {f"INTENDANT_{name}".encode(): text.encode() for name, text in named.items()}
    done = folders.run("ls", "--json", environment=environment)
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://127.0.0.1:0"])
def test_without_keys_no_tcp_address_is_listened_at(folders: Daemon, address: str) -> None:
    done = folders.run("serve", "--listen", address)

    assert done.returncode == 2
    assert "no keys" in done.stderr or "without keys" in done.stderr
    assert "not even a loopback" in done.stderr


def written(daemon: Daemon, text: str) -> Path:
    """The settings file."""
    path = daemon.home / "settings.toml"
    path.write_text(text)
    return path
