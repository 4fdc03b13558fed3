"""Commands that are told of a run's end: when, with what, how often, and for how long."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.ground_truth import processes_with
from tests.helpers.waiting import wait_for

TELL = 'cat > "$0.new" && mv "$0.new" "$0"'
"""A shell's line that keeps what is on stdin in the file `$0`."""
RECORD = 'while [ ! -e "$1" ]; do sleep 0.05; done; echo "$INTENDANT_RUN_ID" >> "$0"'
"""One that waits for the file `$1`, then adds the run to the file `$0`."""


def told(folder: Path) -> Any:
    """What a command has been told, once it has."""
    path = folder / "told"
    wait_for("it is told", path.exists)
    return json.loads(path.read_text())


def lines(folder: Path) -> list[str]:
    """The lines that commands have written."""
    path = folder / "lines"
    return path.read_text().split() if path.exists() else []


def tell(folder: Path) -> list[str]:
    """A command that keeps what it is told."""
    return ["sh", "-c", TELL, str(folder / "told")]


def record(folder: Path) -> list[str]:
    """A command that is over when there is a file `go`, and leaves a line."""
    return ["sh", "-c", RECORD, str(folder / "lines"), str(folder / "go")]


def go(folder: Path) -> None:
    (folder / "go").touch()


def settings(daemon: Daemon, **values: object) -> list[str]:
    """The flags of a daemon with these settings."""
    path = daemon.home / "settings.toml"
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in values.items()]
    path.write_text("".join(["# the settings of a test\n", *lines]))
    return ["--config", str(path)]


def submit(daemon: Daemon, script: str = ":", **options: object) -> int:
    [run_id] = daemon.submit_scripts(script, times=1, **options)
    return run_id


def end_many(daemon: Daemon, times: int, **options: object) -> list[int]:
    """Have many runs end at the same moment; the ids."""
    ids = daemon.submit_scripts(":", times=times, hold=True, **options)
    assert daemon.run("cancel", "all").returncode == 0
    return ids


# --- what it is told -----------------------------------------------------------------------------


def test_the_command_gets_the_run_as_show_prints_it(served: Daemon, tmp_path: Path) -> None:
    run_id = submit(served, "exit 3", name="sum", on_end=tell(tmp_path))

    found = told(tmp_path)

    assert found == served.json("show", str(run_id))
    assert (found["id"], found["outcome"], found["exit_code"]) == (run_id, "failed", 3)


def test_the_runs_own_command_comes_before_the_daemons(folders: Daemon) -> None:
    ours = ["sh", "-c", 'echo daemon >> "$0"', str(folders.home / "lines")]
    folders.start(*settings(folders, on_end=ours))

    submit(folders, on_end=["sh", "-c", 'echo run >> "$0"', str(folders.home / "lines")])
    submit(folders)

    wait_for("both are told", lambda: len(lines(folders.home)) == 3)
    assert sorted(lines(folders.home)) == ["daemon", "daemon", "run"]
    assert lines(folders.home).index("run") < 2


@pytest.mark.parametrize(
    ("script", "options", "outcome"),
    [
        (":", {}, "succeeded"),
        ("kill -9 $$", {}, "failed"),
        ("sleep 60", {"timeout_s": 0.2}, "timed_out"),
    ],
)
def test_every_outcome_is_told(
    served: Daemon, script: str, options: dict[str, object], outcome: str, tmp_path: Path
) -> None:
    submit(served, script, on_end=tell(tmp_path), **options)

    assert told(tmp_path)["outcome"] == outcome


def test_a_run_that_is_cancelled_before_it_started_is_told(served: Daemon, tmp_path: Path) -> None:
    run_id = submit(served, on_end=tell(tmp_path), hold=True)

    served.run("cancel", str(run_id))

    assert told(tmp_path)["outcome"] == "cancelled"


def test_a_run_that_is_tried_again_is_told_once_at_its_end(daemon: Daemon) -> None:
    go(daemon.home)
    run_id = submit(
        daemon, "exit 1", on_end=record(daemon.home), retry={"attempts": 2, "backoff_s": 0}
    )  # fmt: skip

    wait_for("it is told", lambda: lines(daemon.home))
    assert daemon.show(run_id)["attempt"] == 3
    assert daemon.stop() == 128 + signal.SIGTERM
    assert lines(daemon.home) == [str(run_id)]


def test_the_command_can_ask_the_daemon(served: Daemon, tmp_path: Path) -> None:
    ask = f'{INTENDANT} show --json "$INTENDANT_RUN_ID" | ( {TELL} )'
    run_id = submit(served, on_end=["sh", "-c", ask, str(tmp_path / "told")])

    assert told(tmp_path)["id"] == run_id


def test_the_command_gets_no_secret(folders: Daemon) -> None:
    folders.start(environment={"OF_THE_DAEMON": "hidden-1"})
    everything = ["sh", "-c", 'env > "$0.new"; cat >> "$0.new"; mv "$0.new" "$0"']
    spec = {"workload": {"kind": "command", "argv": ["true"]}}
    with folders.client() as client:
        client.submit(
            {**spec, "on_end": [*everything, str(folders.home / "all")]},
            secret_env={"OF_THE_RUN": "hidden-2"},
        )

    wait_for("it is told", (folders.home / "all").exists)
    assert "hidden" not in (folders.home / "all").read_text()
    assert "INTENDANT_RUN_ID=1" in (folders.home / "all").read_text()


def test_a_command_that_does_not_read_holds_nobody_up(served: Daemon, tmp_path: Path) -> None:
    large = ["true", *["x" * 1000] * 500]
    spec = {"workload": {"kind": "command", "argv": large}, "on_end": ["true"]}
    with served.client() as client:
        deaf = client.submit(spec)
        deaf.wait()
        client.submit({**spec, "on_end": tell(tmp_path)})

    assert len(told(tmp_path)["spec"]["workload"]["argv"]) == 501
    assert failures(served, deaf.id) == []


def test_a_run_file_and_an_embedded_daemon_know_it(folders: Daemon) -> None:
    path = folders.home / "run.toml"
    path.write_text(f'argv = ["true"]\non_end = {json.dumps(tell(folders.home))}\n')

    done = folders.run("run", str(path))

    assert done.returncode == 0, done.stderr
    assert json.loads((folders.home / "told").read_text())["outcome"] == "succeeded"


def test_run_says_that_a_command_failed_and_ends_as_its_run_did(folders: Daemon) -> None:
    done = folders.run("run", "--on-end", "sh -c 'exit 3'", "--", "true")

    assert (done.returncode, done.stderr) == (0, "intendant: on_end of run 1: exit status 3\n")


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["sh", "-c", "exit 3"], "exit status 3"),
        (["sh", "-c", "kill -9 $$"], "ended by signal 9"),
        (["no-such-program"], "not started"),
    ],
)
def test_a_failure_is_logged_and_changes_nothing(
    served: Daemon, argv: list[str], says: str
) -> None:
    run_id = submit(served, on_end=argv)

    wait_for("it is logged", lambda: failures(served, run_id))
    [failure] = failures(served, run_id)
    assert says in failure
    assert served.show(run_id)["outcome"] == "succeeded"


def failures(daemon: Daemon, run_id: int) -> list[str]:
    """What the daemon has logged of the commands of this run that failed."""
    *found, _ = daemon.log_text().split("\n")  # the last one may not be whole yet
    logged = [json.loads(line) for line in found if "on_end_failed" in line]
    return [line["failure"] for line in logged if line["run_id"] == run_id]


def test_what_a_command_started_is_killed_with_it(folders: Daemon) -> None:
    folders.start(*settings(folders, on_end_timeout_s=0.5))
    hang = "sleep 1000.5 & sleep 1000.5"
    leave = "sleep 1000.5 &"
    first, _ = [submit(folders, on_end=["sh", "-c", script]) for script in (hang, leave)]

    wait_for("the first is killed", lambda: failures(folders, first))
    assert failures(folders, first) == ["killed: not over after 0.5 s"]
    wait_for("nothing is left", lambda: not processes_with("sleep 1000.5"))
    assert folders.show(first)["outcome"] == "succeeded"


def test_only_a_few_commands_run_at_once(served: Daemon, tmp_path: Path) -> None:
    all_four = 'until [ "$(grep -c + "$0")" -ge 4 ]; do sleep 0.05; done'
    mark = f'echo "+" >> "$0"; {all_four}; echo "-" >> "$0"'
    end_many(served, 12, on_end=["sh", "-c", mark, str(tmp_path / "lines")])

    wait_for("all are told", lambda: lines(tmp_path).count("-") == 12)
    running, most = 0, 0
    for line in lines(tmp_path):
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 4


# --- the daemon's end ----------------------------------------------------------------------------


def test_a_daemon_that_ends_gives_the_commands_their_time(daemon: Daemon) -> None:
    slow = f"sleep 1; {TELL}"
    run_id = submit(daemon, on_end=["sh", "-c", slow, str(daemon.home / "told")])
    daemon.wait_state(run_id, "ended")

    assert daemon.stop() == 128 + signal.SIGTERM

    assert (daemon.home / "told").exists()


def test_the_end_of_a_run_that_the_daemon_stops_is_told_before_it_exits(daemon: Daemon) -> None:
    run_id = submit(daemon, "sleep 60", on_end=tell(daemon.home))
    daemon.wait_state(run_id, "running")

    assert daemon.stop() == 128 + signal.SIGTERM

    assert told(daemon.home)["outcome"] == "interrupted"


def test_a_command_that_hangs_is_killed_when_its_time_is_up_and_what_waits_is_kept(
    folders: Daemon,
) -> None:
    folders.start(*settings(folders, on_end_timeout_s=2))
    end_many(folders, 60, on_end=record(folders.home))

    assert folders.stop() == 128 + signal.SIGTERM
    folders.assert_nothing_left()
    assert lines(folders.home) == []

    go(folders.home)
    folders.start()
    wait_for("what waited is told", lambda: len(lines(folders.home)) >= 8)


def test_a_second_signal_ends_the_commands_at_once(daemon: Daemon) -> None:
    run_id = submit(daemon, on_end=record(daemon.home))
    daemon.wait_state(run_id, "ended")
    wait_for("it runs", lambda: processes_with(str(daemon.home / "lines")))
    daemon.send(signal.SIGTERM)
    wait_for("the daemon stops", lambda: '"after": "stopping"' in daemon.log_text())

    assert daemon.stop(within_s=20) == 128 + signal.SIGTERM
    daemon.assert_nothing_left()


def test_a_daemon_that_leaves_waits_for_what_runs_and_leaves_what_waits(daemon: Daemon) -> None:
    ids = end_many(daemon, 6, on_end=record(daemon.home))
    wait_for("four run", lambda: len(processes_with(str(daemon.home / "lines"))) == 4)
    daemon.run("shutdown", "--leave")
    wait_for("the daemon leaves", lambda: '"after": "exited"' in daemon.log_text())
    go(daemon.home)

    assert daemon.wait() == 0
    assert len(lines(daemon.home)) == 4

    daemon.start()
    wait_for("the others are told", lambda: len(lines(daemon.home)) == 6)
    assert sorted(lines(daemon.home)) == sorted(map(str, ids))


def test_a_daemon_that_is_killed_has_nobody_told_twice(daemon: Daemon) -> None:
    ids = end_many(daemon, 6, on_end=record(daemon.home))
    wait_for("four run", lambda: len(processes_with(str(daemon.home / "lines"))) == 4)

    daemon.kill()
    daemon.start()
    go(daemon.home)

    wait_for("all are told", lambda: len(lines(daemon.home)) >= 6)
    assert daemon.stop() == 128 + signal.SIGTERM
    assert sorted(lines(daemon.home)) == sorted(map(str, ids))


def test_the_daemons_command_can_be_changed_while_it_runs(folders: Daemon) -> None:
    folders.start(*settings(folders))
    folders.wait_state(submit(folders), "ended")
    settings(folders, on_end=tell(folders.home))
    folders.send(signal.SIGHUP)
    wait_for("the settings apply", lambda: "settings_applied" in folders.log_text())

    run_id = submit(folders)

    assert told(folders.home)["id"] == run_id
