"""Cancelling: in every state, by anybody, as often as they like; and its answer is true."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import is_alive
from tests.helpers.waiting import wait_for

STUBBORN = "trap '' TERM; touch ready-$INTENDANT_RUN_ID; while :; do sleep 0.05; done"


def test_e10_a_queued_run_is_cancelled_at_once_and_never_starts(daemon: Daemon) -> None:
    daemon.run("queue", "pause", "default")
    run_id = daemon.submit("touch", "trace")

    done = daemon.run("cancel", str(run_id))
    daemon.run("queue", "resume", "default")
    daemon.run("submit", "--wait", "--", "true")

    assert (done.returncode, done.stdout) == (0, f"{run_id}: cancelled\n")
    assert daemon.show(run_id)["attempt"] == 0
    assert not (daemon.home / "trace").exists()


def test_e10_a_held_run_can_be_cancelled(served: Daemon) -> None:
    run_id = served.submit("true", flags=["--hold"])

    served.run("cancel", str(run_id))

    assert served.show(run_id)["outcome"] == "cancelled"


def test_e10_starting_runs_can_be_cancelled_and_do_not_start(daemon: Daemon) -> None:
    with stopped(daemon.ready_zygote()):
        ids = [daemon.submit("touch", f"trace-{number}") for number in range(4)]
        for run_id in ids:
            daemon.wait_state(run_id, "starting")
        done = daemon.run("cancel", "all", "--json")
        assert {run["state"] for run in json.loads(done.stdout)} == {"stopping"}

    for run_id in ids:
        assert daemon.wait_state(run_id, "ended")["outcome"] == "cancelled"
    assert not list(daemon.home.glob("trace-*"))


def test_e10_a_running_run_gets_sigterm_and_says_who_cancelled_it_and_why(served: Daemon) -> None:
    script = "trap 'echo asked; exit 0' TERM; touch ready; while :; do sleep 0.05; done"
    run_id = served.submit("sh", "-c", script)
    wait_for("it runs", (served.home / "ready").exists)

    served.run("cancel", str(run_id), "--reason", "wrong data")

    run = served.wait_state(run_id, "ended")
    assert run["outcome"] == "cancelled"
    assert run["reason"] == f"cancelled: by {run['account']}: wrong data"
    assert run["exit_code"] == 0
    assert served.run("logs", str(run_id)).stdout == "asked\n"


def test_e10_an_ended_run_stays_as_it_is(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "exit 3")
    before = served.wait_state(run_id, "ended")

    done = served.run("cancel", str(run_id))

    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert served.show(run_id) == before


def test_e10_an_unknown_run_is_refused(served: Daemon) -> None:
    done = served.run("cancel", "424242", "--json")

    assert done.returncode == 1
    assert json.loads(done.stderr)["error"]["code"] == "run_not_found"


def test_cancelling_twice_is_cancelling_once(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", STUBBORN, flags=["--grace", "0.5s"])
    wait_for("it runs", (served.home / f"ready-{run_id}").exists)

    first = served.run("cancel", str(run_id), "--reason", "first")
    second = served.run("cancel", str(run_id), "--reason", "second")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "nothing to do" in second.stdout
    assert served.wait_state(run_id, "ended")["reason"].endswith(": first")


def test_e12_what_ignores_sigterm_is_killed_after_its_grace_all_at_the_same_time(
    daemon: Daemon,
) -> None:
    ids = [daemon.submit("sh", "-c", STUBBORN, flags=["--grace", "5s"]) for _ in range(4)]
    for run_id in ids:
        wait_for("it runs", (daemon.home / f"ready-{run_id}").exists)

    daemon.run("cancel", "all")
    runs = [daemon.wait_state(run_id, "ended") for run_id in ids]

    assert {(run["outcome"], run["signal"]) for run in runs} == {("cancelled", signal.SIGKILL)}
    at = [{event.event: event.at for event in daemon.events(run_id)} for run_id in ids]
    for each in at:
        assert each["grace_expired"] - each["term_sent"] >= timedelta(seconds=4.9)
        assert each["tree_killed"] >= each["grace_expired"]
    assert max(each["term_sent"] for each in at) < min(each["grace_expired"] for each in at)


def test_cancelling_now_does_not_wait_for_any_grace(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", STUBBORN, flags=["--grace", "1m"])
    wait_for("it runs", (served.home / f"ready-{run_id}").exists)

    served.run("cancel", str(run_id), "--now")

    assert served.wait_state(run_id, "ended")["signal"] == signal.SIGKILL


@pytest.mark.parametrize("harder", [{"now": True}, {"grace_s": 0.1}])
def test_a_cancel_can_be_made_harder(served: Daemon, harder: dict[str, Any]) -> None:
    run_id = served.submit("sh", "-c", STUBBORN, flags=["--grace", "1m"])
    wait_for("it runs", (served.home / f"ready-{run_id}").exists)
    with served.client() as client:
        client.cancel(run_id)

        client.cancel(run_id, **harder)

    run = served.wait_state(run_id, "ended")
    # A governor that has been kept from the CPU for seconds is overdue, and says no signal.
    assert (run["outcome"], run["signal"] or signal.SIGKILL) == ("cancelled", signal.SIGKILL)


def test_a_cancelled_run_is_not_tried_again(served: Daemon) -> None:
    run_id = served.submit("sleep", "600", flags=["--retry", "5", "--restartable"])
    served.wait_state(run_id, "running")

    served.run("cancel", str(run_id))

    run = served.wait_state(run_id, "ended")
    assert (run["outcome"], run["attempt"]) == ("cancelled", 1)


def test_the_whole_group_of_a_cancelled_run_ends(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "sleep 60 & echo $! > child; wait")
    child = served.home / "child"
    pid = int(wait_for("it runs", lambda: child.exists() and child.read_text()))

    served.run("cancel", str(run_id))
    served.wait_state(run_id, "ended")

    assert not is_alive(pid)


def test_a_stopped_run_can_be_cancelled(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "echo $$ > stopped; exec sleep 60")
    path = served.home / "stopped"
    pid = int(wait_for("it runs", lambda: path.exists() and path.read_text()))
    os.kill(pid, signal.SIGSTOP)

    served.run("cancel", str(run_id))

    run = served.wait_state(run_id, "ended")
    assert (run["outcome"], run["signal"]) == ("cancelled", signal.SIGTERM)


def test_all_means_every_run_that_has_not_ended(daemon: Daemon) -> None:
    ended = daemon.submit("true")
    daemon.wait_state(ended, "ended")
    ids = [daemon.submit("sleep", "600") for _ in range(6)]  # more than there are slots

    done = daemon.run("cancel", "all", "--json")

    assert sorted(run["id"] for run in json.loads(done.stdout)) == ids
    for run_id in ids:
        assert daemon.wait_state(run_id, "ended")["outcome"] == "cancelled"
    assert daemon.show(ended)["outcome"] == "succeeded"


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
