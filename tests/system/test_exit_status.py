"""What `submit --wait` and `wait` exit with: how the run ended, for scripts."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.waiting import SLOWNESS_S, wait_for


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param("exit 0", 0, id="success"),
        pytest.param("exit 7", 7, id="its own status"),
        pytest.param("exit 255", 255, id="the highest there is"),
        pytest.param("kill -9 $$", 137, id="SIGKILL"),
        pytest.param("kill -TERM $$", 143, id="SIGTERM"),
    ],
)
def test_waiting_exits_as_the_command_did(served: Daemon, script: str, status: int) -> None:
    assert served.run("submit", "--wait", "--", "sh", "-c", script).returncode == status


def test_a_command_that_does_not_exist_gives_127(served: Daemon) -> None:
    assert served.run("submit", "--wait", "--", "no-such-command").returncode == 127


def test_a_file_that_is_not_executable_gives_126(served: Daemon) -> None:
    assert served.run("submit", "--wait", "--", "/etc/passwd").returncode == 126


def test_a_run_past_its_time_limit_gives_124_within_a_second_and_the_grace(served: Daemon) -> None:
    began = time.monotonic()

    done = served.run("submit", "--wait", "--timeout", "1s", "--json", "--", "sleep", "600")

    assert done.returncode == 124
    assert time.monotonic() - began < 1 + 3 + SLOWNESS_S
    run = json.loads(done.stdout)
    assert (run["outcome"], run["reason"]) == ("timed_out", "time_limit: 1.00s")


def test_a_run_that_ignores_the_end_of_its_time_is_killed_after_the_grace(served: Daemon) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]

    began = time.monotonic()
    flags = ("--timeout", "0.5s", "--grace", "0.5s")
    done = served.run("submit", "--wait", *flags, "--json", "--", *stubborn)

    assert done.returncode == 124
    assert 1.0 <= time.monotonic() - began < 1 + 3 + SLOWNESS_S
    assert json.loads(done.stdout)["signal"] == signal.SIGKILL


def test_a_run_cancelled_by_another_client_gives_130(served: Daemon) -> None:
    waiting = served.popen("submit", "--wait", "--", "sleep", "600")
    with waiting:
        run_id = int(first_line(waiting))
        served.wait_state(run_id, "running")

        assert served.run("cancel", str(run_id)).returncode == 0

        assert waiting.wait(60) == 130
    assert served.show(run_id)["outcome"] == "cancelled"


def test_a_run_whose_dependency_failed_gives_125(served: Daemon) -> None:
    (served.home / "pair.json").write_text(
        json.dumps({"runs": [{"name": "a", "argv": ["false"]}, {"argv": ["true"], "after": ["a"]}]})
    )
    parent, child = served.run("submit", "pair.json").stdout.split()

    assert served.run("wait", child).returncode == 125
    assert served.run("wait", parent).returncode == 1


def test_of_several_runs_the_highest_status_counts(served: Daemon) -> None:
    ids = [str(served.submit("sh", "-c", f"exit {status}")) for status in (3, 9, 0)]

    assert served.run("wait", ",".join(ids)).returncode == 9
    assert served.run("wait", *ids).returncode == 9


def test_the_status_of_a_run_that_ended_long_ago_can_still_be_asked_for(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "exit 5")
    served.wait_state(run_id, "ended")

    assert served.run("wait", str(run_id)).returncode == 5


def test_one_can_wait_for_the_first_of_several(served: Daemon) -> None:
    slow = served.submit("sleep", "600")
    quick = served.submit("sh", "-c", "exit 4")

    done = served.run("wait", str(slow), str(quick), "--any", "--json")

    assert done.returncode == 4
    assert json.loads(done.stdout)["id"] == quick
    served.run("cancel", str(slow))


def test_giving_up_the_wait_gives_75_and_leaves_the_run_alone(served: Daemon) -> None:
    run_id = served.submit("sleep", "600")

    assert served.run("wait", str(run_id), "--timeout", "0.3s").returncode == 75

    assert served.show(run_id)["state"] in ("queued", "starting", "running")
    served.run("cancel", str(run_id))


def test_waiting_for_a_run_that_does_not_exist_is_refused(served: Daemon) -> None:
    done = served.run("wait", "999999")

    assert done.returncode == 1
    assert "999999" in done.stderr


def test_ctrl_c_lets_go_of_the_run_and_says_so(served: Daemon) -> None:
    waiting = served.popen("submit", "--wait", "--", "sleep", "600")
    run_id = int(first_line(waiting))
    served.wait_state(run_id, "running")

    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=60)

    assert waiting.returncode == 130
    assert f"run {run_id} goes on" in said
    assert served.show(run_id)["state"] == "running"
    served.run("cancel", str(run_id))


def test_when_the_daemon_is_gone_those_who_follow_end_with_69_and_the_way_back(
    folders: Daemon,
) -> None:
    folders.start(environment={"INTENDANT_LOG_LEVEL": "debug"})
    run_id = folders.submit("sh", "-c", "echo begun; until test -e go; do sleep 0.05; done")
    waiting = folders.popen("wait", str(run_id))
    following = folders.popen("logs", "-f", "last")
    wait_for("both are served", lambda: stream_workers(folders) >= 4)  # two more are idle
    assert first_line(following) == "begun\n"

    folders.kill()

    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 69
    assert f"may go on without it; later: intendant wait {run_id}\n" in said
    _, said = following.communicate(timeout=60)
    assert following.returncode == 69
    assert "later: intendant logs -f last\n" in said
    folders.start()
    (folders.home / "go").touch()
    assert folders.run("wait", str(run_id)).returncode == 0


def stream_workers(daemon: Daemon) -> int:
    """How many workers for streams there have been: each that is busy is replaced."""
    lines = daemon.log_text().splitlines()
    return sum('"worker_registered"' in line and '"stream"' in line for line in lines)


def test_submitting_prints_the_id_alone(served: Daemon) -> None:
    done = served.run("submit", "--", "true")

    assert done.stdout == f"{int(done.stdout)}\n"
    assert done.stderr == ""


def test_no_progress_is_shown_where_nobody_looks(served: Daemon) -> None:
    done = served.run("submit", "--wait", "--", "true")

    assert done.stdout == f"{int(done.stdout)}\n"
    assert done.stderr == ""


def first_line(process: subprocess.Popen[str]) -> str:
    """What a client prints first."""
    assert process.stdout is not None
    return process.stdout.readline()
