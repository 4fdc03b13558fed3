"""The verbs about runs, the queue and the daemon's own condition, on a real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.helpers.daemon import INTENDANT, Daemon
from tests.helpers.waiting import wait_for


def explained(daemon: Daemon, run_id: int) -> dict[str, Any]:
    done = daemon.run("explain", str(run_id), "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def events(daemon: Daemon, *args: str) -> list[dict[str, Any]]:
    done = daemon.run("events", "--json", *args)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def assert_sound(daemon: Daemon, runs: int) -> None:
    """What `fsck` says once the daemon has ended."""
    done = daemon.run("fsck")
    assert (done.returncode, done.stdout) == (0, f"ok, {runs} {'run' if runs == 1 else 'runs'}\n")


def test_a_held_run_starts_when_it_is_released_and_says_why_it_waits(served: Daemon) -> None:
    run_id = served.submit("true", flags=["--hold"])
    assert explained(served, run_id)["code"] == "held"
    assert served.run("release", str(run_id)).stdout == f"{run_id}: queued\n"
    assert served.run("wait", str(run_id)).returncode == 0
    found = explained(served, run_id)
    assert found["code"] == "ended"
    assert found["text"].startswith("succeeded at ")


def test_hold_and_priority_decide_what_starts_next(served: Daemon) -> None:
    served.run("queue", "set", "one", "--slots", "1")
    blocker = served.submit("sleep", "600", flags=["-q", "one"])
    served.wait_state(blocker, "running")
    first, second, third = [served.submit("true", flags=["-q", "one"]) for _ in range(3)]
    assert explained(served, third)["text"] == (
        "1 of 1 slots of queue one are taken, behind 2 better runs"
    )
    served.run("priority", str(third), "5")
    served.run("hold", str(first))
    assert explained(served, third)["text"].endswith("taken, it is next")

    served.run("cancel", str(blocker))
    assert served.run("wait", str(second), str(third)).returncode == 0

    ours = {blocker, first, second, third}
    granted = [one["run_id"] for one in events(served) if one["event"] == "slot_granted"]
    assert [run_id for run_id in granted if run_id in ours] == [blocker, third, second]
    assert served.show(first)["state"] == "held"
    served.run("cancel", str(first))


def test_what_makes_no_sense_where_a_run_is_is_refused_with_its_reason(served: Daemon) -> None:
    run_id = served.submit("sleep", "600")
    served.wait_state(run_id, "running")
    for verb in ("hold", "release", "retry"):
        done = served.run(verb, str(run_id), "--json")
        error = json.loads(done.stderr)["error"]
        assert (done.returncode, error["code"]) == (1, "invalid_request")
        assert f"run {run_id}" in error["message"]
        assert "running" in error["message"]
    served.run("cancel", str(run_id), "--now")


def test_a_retry_has_folder_environment_and_secrets_of_the_old_run(served: Daemon) -> None:
    folder = served.home / "elsewhere"
    folder.mkdir()
    script = 'echo "$PWD $A $T"; test -e "$PWD/good"'
    flags = ["--cwd", str(folder), "--env", "A=1", "--secret-env", "T=hidden"]
    old = served.submit("sh", "-c", script, flags=flags)
    assert served.run("wait", str(old)).returncode == 1
    (folder / "good").touch()

    new = int(served.run("retry", str(old)).stdout)

    assert served.run("wait", str(new)).returncode == 0
    assert served.run("logs", str(new)).stdout == f"{folder} 1 hidden\n"
    assert served.show(new)["spec"]["retry_of"] == old
    assert served.show(old)["outcome"] == "failed"


def test_a_back_off_says_until_when_and_after_what(served: Daemon) -> None:
    file = served.home / "back-off.toml"
    file.write_text('argv = ["false"]\n[retry]\nattempts = 1\nbackoff = "4m"\n')
    run_id = int(served.run("submit", str(file)).stdout)
    wait_for("its first attempt failed", lambda: explained(served, run_id)["code"] == "back_off")
    found = explained(served, run_id)
    assert found["until"] > found["since"]
    assert "(in 3m" in found["text"]
    assert found["text"].endswith("attempt 1 failed (exit_code: 1)")
    served.run("cancel", str(run_id))


def test_a_paused_queue_and_a_draining_daemon_are_reasons(daemon: Daemon) -> None:
    daemon.run("queue", "pause", "default")
    run_id = daemon.submit("true")
    assert explained(daemon, run_id)["code"] == "queue_paused"
    daemon.run("queue", "set", "other", "--slots", "1")
    blocker = daemon.submit("sleep", "600", flags=["-q", "other"])
    daemon.wait_state(blocker, "running")
    daemon.run("shutdown", "--drain")
    assert explained(daemon, run_id)["code"] == "daemon"
    daemon.run("cancel", str(blocker))
    assert daemon.wait() == 0


def test_followed_events_keep_their_place_when_the_broker_is_killed(daemon: Daemon) -> None:
    out = daemon.home / "events"
    with out.open("wb") as file:
        following = daemon.popen("events", "-f", "--all", "--json", stdout=file, text=False)
    first = daemon.submit("true")
    daemon.run("wait", str(first))
    wait_for("its end is told", lambda: b'"ended"' in out.read_bytes())

    broker = daemon.status()["broker"]["pid"]
    os.kill(broker, signal.SIGKILL)
    wait_for("another broker", lambda: daemon.status()["broker"]["pid"] not in (None, broker))
    second = daemon.submit("true")
    daemon.run("wait", str(second))
    last = events(daemon)[-1]["id"]
    wait_for("the last event is told", lambda: f'"id": {last},'.encode() in out.read_bytes())
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)

    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["id"] for one in told] == list(range(1, last + 1))
    assert told == events(daemon)
    assert [one["seq"] for one in events(daemon, str(second))] == [1, 2, 3, 4]


def test_e18_every_change_of_a_run_is_an_event_and_each_goes_on_where_the_last_one_ended(
    served: Daemon,
) -> None:
    held = served.submit("true", flags=["--hold"])
    failing = served.submit("false", flags=["--retry", "1"])
    served.run("cancel", str(held))
    served.run("wait", str(failing))

    told = {run_id: events(served, str(run_id)) for run_id in (held, failing)}

    for run_id, of_run in told.items():
        assert [one["seq"] for one in of_run] == list(range(1, len(of_run) + 1))
        assert all(one["after"] == two["before"] for one, two in pairwise(of_run))
        assert of_run[-1]["after"] == served.show(run_id)["state"] == "ended"
    assert [one["event"] for one in told[held]] == ["submitted", "stop_requested"]
    assert [one["event"] for one in told[failing]].count("started") == 2


def test_prune_removes_old_runs_with_their_folders_and_nothing_else(daemon: Daemon) -> None:
    old, kept = daemon.submit("true"), daemon.submit("true")
    live = daemon.submit("sleep", "600")
    daemon.run("wait", f"{old},{kept}")
    daemon.wait_state(live, "running")
    spool = daemon.state_dir / "spool"
    precious = daemon.home / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (spool / str(old) / "link").symlink_to(precious)
    (spool / "99").symlink_to(precious)
    (spool / "98" / "1").mkdir(parents=True)

    assert daemon.run("prune", "--older", "1h").stdout == "pruned 0 runs\n"
    # A governor may still be about to go: its run is not forgotten before.
    wait_for(
        "the run is pruned",
        lambda: daemon.run("prune", "--older", "0", str(old)).stdout == "pruned 1 run\n",
    )

    assert sorted(path.name for path in spool.iterdir()) == [str(kept), str(live)]
    assert (precious / "file").exists()
    assert json.loads(daemon.run("show", str(old), "--json").stderr)["error"]["code"] == (
        "run_not_found"
    )
    assert events(daemon, str(old))[-1]["event"] == "pruned"
    wait_for(
        "the other is pruned",
        lambda: daemon.run("prune", "--older", "0").stdout == "pruned 1 run\n",
    )
    assert [path.name for path in spool.iterdir()] == [str(live)]
    daemon.run("cancel", str(live))
    daemon.run("wait", str(live))
    daemon.stop()
    assert_sound(daemon, 1)


def test_fsck_waits_for_nobody_and_disturbs_no_daemon(daemon: Daemon) -> None:
    done = daemon.run("fsck")
    assert done.returncode == 1
    assert f"a daemon with pid {daemon.pid}" in done.stderr
    assert daemon.run("submit", "--wait", "--", "true").returncode == 0


def test_fsck_is_content_after_kills_and_sees_what_the_next_daemon_will_do(
    daemon: Daemon,
) -> None:
    for flags in ([], ["--hold"], ["--retry", "1"]):
        daemon.submit("false", flags=flags)
    long = daemon.submit("sleep", "600")
    daemon.wait_state(long, "running")
    daemon.wait_state(1, "ended")
    daemon.kill()

    done = daemon.run("fsck", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["runs"]) == (0, True, 4), found

    daemon.start("--slots", "4")
    assert daemon.show(long)["state"] == "running"
    daemon.run("cancel", str(long))
    daemon.run("wait", "1,3,4")
    daemon.stop()
    assert_sound(daemon, 4)


def test_fsck_finds_a_forged_end(daemon: Daemon) -> None:
    run_id = daemon.submit("true")
    daemon.run("wait", str(run_id))
    daemon.stop()
    path = daemon.attempt_folder(run_id) / "exit.json"
    path.write_text(path.read_text().replace('"exit_code":0', '"exit_code":9'))

    done = daemon.run("fsck")

    assert done.returncode == 1
    assert done.stdout == (
        f"fault: attempt {run_id}.1 is recorded as succeeded with exit code 0, "
        "its exit record says succeeded with exit code 9\n"
    )


def test_the_system_log_has_daemon_and_governors_in_order_of_time(daemon: Daemon) -> None:
    run_id = daemon.submit("true")
    daemon.run("wait", str(run_id))

    def look() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(daemon.run("logs", "--system", "--json").stdout)
        is_whole = any("attempt_ended" in one["text"] for one in found if "gov" in one["source"])
        return found if is_whole else []

    lines = wait_for("the governor's log is there", look)
    assert {one["source"] for one in lines} == {"executor", "broker", f"governor {run_id}.1"}
    assert [one["at"] for one in lines] == sorted(one["at"] for one in lines)
    of_run = json.loads(daemon.run("logs", "--system", "--json", str(run_id)).stdout)
    assert all(json.loads(one["text"]).get("run_id") == run_id for one in of_run)
    assert daemon.run("logs", "--system", "--level", "error").stdout == ""
    mode = (daemon.state_dir / "log" / "system.log").stat().st_mode
    assert mode & 0o777 == 0o600


def test_a_followed_system_log_tells_of_governors_that_are_yet_to_come(daemon: Daemon) -> None:
    out = daemon.home / "system"
    with out.open("wb") as file:
        following = daemon.popen("logs", "--system", "-f", "--json", stdout=file, text=False)
    wait_for("it has begun", lambda: b"daemon_ready" in out.read_bytes())
    run_id = daemon.submit("true")
    daemon.run("wait", str(run_id))
    source = f'"source": "governor {run_id}.1"'.encode()

    wait_for("the governor is heard", lambda: source in out.read_bytes())

    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    told = [(one["source"], one["text"]) for one in map(json.loads, out.read_text().splitlines())]
    assert len(told) == len(set(told))


def test_bash_completes_verbs(tmp_path: Path, folders: Daemon) -> None:
    script = folders.run("--help").stdout
    assert "_INTENDANT_COMPLETE=bash_source" in script
    complete = (
        'eval "$(_INTENDANT_COMPLETE=bash_source intendant)"; '
        "COMP_WORDS=(intendant exp); COMP_CWORD=1; _intendant_completion intendant; "
        'echo "${COMPREPLY[@]}"'
    )
    environment = {"PATH": f"{Path(INTENDANT).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", complete],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=folders.environment | environment,
    )
    assert done.stdout == "explain\n", done.stderr
