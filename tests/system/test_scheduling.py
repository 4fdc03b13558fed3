"""What starts when: priority, order of submission, slots of queues and of the daemon."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from intendant.errors import QueueNotFound
from intendant.protocol.records import EventRecord
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for


def test_e1_runs_of_one_priority_start_in_the_order_of_their_submission(served: Daemon) -> None:
    ids = submit_to_one_slot(served, "fifo", [{} for _ in range(12)])

    assert granted(served.events(*ids)) == ids


def test_e1_a_higher_priority_starts_first_then_the_older(served: Daemon) -> None:
    priorities = [0, 5, -3, 5, 0, 9, -3, 0]

    ids = submit_to_one_slot(served, "best", [{"priority": priority} for priority in priorities])

    best_first = sorted(zip(priorities, ids, strict=True), key=lambda pair: (-pair[0], pair[1]))
    assert granted(served.events(*ids)) == [run_id for _, run_id in best_first]


def test_e1_one_request_takes_several_runs_or_none(served: Daemon) -> None:
    with served.client() as client:
        before = client.runs(limit=None)
        with pytest.raises(QueueNotFound, match="nowhere"):
            client.submit_all([a_spec("true"), {**a_spec("true"), "queue": "nowhere"}])
        assert len(client.runs(limit=None)) == len(before)
        first, *others = client.submit_all([a_spec("true"), a_spec("true"), a_spec("true")])

    assert [run.id for run in others] == [first.id + 1, first.id + 2]


def test_e2_no_more_runs_live_at_once_than_there_are_slots(folders: Daemon) -> None:
    folders.start("--slots", "3")
    # The first ones wait for each other: three do run at once.
    script = "mktemp begun.XXXXXX; until [ $(ls begun.* | wc -l) -ge 3 ]; do sleep 0.05; done"
    spec = a_spec("sh", "-c", script)
    spec["workload"]["cwd"] = str(folders.home)
    with folders.client() as client:
        ids = [run.id for run in client.submit_all([spec] * 15)]
        client.wait(ids)
        runs = client.runs(limit=None)

    assert {run["outcome"] for run in runs} == {"succeeded"}
    assert most_at_once(runs) == 3


def test_e2_a_slot_is_given_again_the_moment_it_is_free(folders: Daemon) -> None:
    folders.start("--slots", "1")
    with folders.client() as client:
        ids = [run.id for run in client.submit_all([a_spec("true")] * 20)]
        client.wait(ids)
        runs = client.runs(limit=None)[::-1]

    gaps_s = sorted(seconds(one["finished_at"], two["started_at"]) for one, two in pairwise(runs))
    # Single gaps belong to the machine. It is 20 ms where nothing else is done (`benchmarks/`).
    assert gaps_s[len(gaps_s) // 2] < 2.0


def test_e2_starts_do_not_wait_for_each_other(folders: Daemon) -> None:
    folders.start("--slots", "8")
    # Each ends when all have begun; where one start waited for another's end, none would.
    script = 'touch "$0.begun"; until [ "$(ls *.begun | wc -l)" = 8 ]; do sleep 0.05; done'
    specs = [a_spec("sh", "-c", script, str(number)) for number in range(8)]
    for spec in specs:
        spec["timeout_s"] = 60.0
        spec["workload"]["cwd"] = str(folders.home)
    with folders.client() as client:
        ids = [run.id for run in client.submit_all(specs)]
        client.wait(ids)
        runs = client.runs(limit=None)

    assert {run["outcome"] for run in runs} == {"succeeded"}
    assert most_at_once(runs) == 8


def test_e9_a_start_takes_milliseconds(folders: Daemon) -> None:
    folders.start("--slots", "1")
    with folders.client() as client:
        runs = [client.submit(["true"]).wait() for _ in range(9)]

    took_s = sorted(seconds(run["submitted_at"], run["started_at"]) for run in runs)
    # Some 10 ms on a machine that does nothing else; `benchmarks/` measures it.
    assert took_s[len(took_s) // 2] < 2.0


def test_a_queue_has_its_own_slots_below_those_of_the_daemon(served: Daemon) -> None:
    served.run("queue", "set", "narrow", "--slots", "1")
    with served.client() as client:
        narrow = client.submit_all([a_spec("sleep", "0.2") | {"queue": "narrow"}] * 4)
        wide = client.submit_all([a_spec("sleep", "0.2")] * 6)
        client.wait([run.id for run in [*narrow, *wide]])
        waited = [client.runs(selection=[run.id for run in runs]) for runs in (narrow, wide)]

    assert most_at_once(waited[0]) == 1
    assert most_at_once(waited[1]) <= 4
    assert most_at_once(waited[0] + waited[1]) <= 4


def test_a_paused_queue_starts_nothing_until_it_is_resumed(served: Daemon) -> None:
    served.run("queue", "pause", "default")
    served.run("queue", "set", "other", "--slots", "1")
    waits = served.submit("true")

    passes = served.submit("true", flags=["-q", "other"])
    served.wait_state(passes, "ended")

    assert served.show(waits)["state"] == "queued"
    served.run("queue", "resume", "default")
    assert served.wait_state(waits, "ended")["outcome"] == "succeeded"


def test_pausing_a_queue_leaves_what_runs_alone(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "until test -e go; do sleep 0.05; done")
    served.wait_state(run_id, "running")

    served.run("queue", "pause", "default")
    (served.home / "go").touch()

    assert served.wait_state(run_id, "ended")["outcome"] == "succeeded"
    served.run("queue", "resume", "default")


def test_fewer_slots_end_nothing_and_more_are_used_at_once(served: Daemon) -> None:
    served.run("queue", "set", "some", "--slots", "2")
    ids = [served.submit("sleep", "600", flags=["-q", "some"]) for _ in range(4)]
    wait_for("two run", lambda: states(served, ids).count("running") == 2)

    served.run("queue", "set", "some", "--slots", "1")
    assert states(served, ids).count("running") == 2

    served.run("queue", "set", "some", "--slots", "4")
    wait_for("four run", lambda: states(served, ids).count("running") == 4)
    served.run("cancel", "all")
    for run_id in ids:
        served.wait_state(run_id, "ended")


def test_pause_and_slots_are_still_there_after_a_restart(daemon: Daemon) -> None:
    daemon.run("queue", "set", "gpu", "--slots", "3")
    daemon.run("queue", "pause", "gpu")

    daemon.stop()
    daemon.start()

    [gpu] = [queue for queue in daemon.json("queue", "ls") if queue["name"] == "gpu"]
    assert (gpu["slots"], gpu["paused"]) == (3, True)


def test_e5_what_is_queued_is_still_there_after_a_restart_in_the_same_order(
    daemon: Daemon,
) -> None:
    daemon.run("queue", "pause", "default")
    with daemon.client() as client:
        ids = [run.id for run in client.submit_all([a_spec("true")] * 10)]

    daemon.stop()
    daemon.start("--slots", "1")
    assert {run["state"] for run in daemon.json("ls")} == {"queued"}
    daemon.run("queue", "resume", "default")
    assert daemon.run("wait", "1-10").returncode == 0

    assert granted(daemon.events()) == ids


def test_the_same_key_gives_the_same_run_and_another_spec_with_it_is_refused(
    served: Daemon,
) -> None:
    first = served.submit("true", flags=["--key", "nightly"])

    again = served.submit("true", flags=["--key", "nightly"])
    other = served.run("submit", "--key", "nightly", "--json", "--", "false")

    assert again == first
    assert other.returncode == 1
    assert json.loads(other.stderr)["error"]["code"] == "key_conflict"


def test_a_held_run_takes_no_slot(folders: Daemon) -> None:
    folders.start("--slots", "1")
    held = folders.submit("true", flags=["--hold"])

    assert folders.run("submit", "--wait", "--", "true").returncode == 0

    assert folders.show(held)["state"] == "held"


def test_a_run_that_fails_is_tried_again_as_often_as_it_may_be(served: Daemon) -> None:
    (served.home / "retry.json").write_text(
        json.dumps(
            {
                "argv": ["sh", "-c", "echo attempt $INTENDANT_ATTEMPT; exit 3"],
                "retry": {"attempts": 2, "backoff": 0.05},
            }
        )
    )

    done = served.run("submit", "retry.json", "--wait")

    assert done.returncode == 3
    run_id = int(done.stdout)
    assert served.show(run_id)["attempt"] == 3
    assert [event.event for event in served.events(run_id)].count("retry_granted") == 2


def test_e20_each_attempt_keeps_its_own_output(served: Daemon) -> None:
    (served.home / "retry.json").write_text(
        json.dumps(
            {
                "argv": ["sh", "-c", "echo out $INTENDANT_ATTEMPT; echo err >&2; exit 3"],
                "retry": {"attempts": 1, "backoff": 0.05},
            }
        )
    )
    run_id = served.run("submit", "retry.json", "--wait").stdout.strip()

    said = [served.run("logs", run_id, "--attempt", str(attempt)).stdout for attempt in (1, 2)]

    assert said == ["out 1\n", "out 2\n"]
    assert served.run("logs", run_id).stdout == "out 2\n"
    assert served.run("logs", run_id, "--stderr", "--attempt", "1").stdout == "err\n"


@pytest.mark.parametrize("policy", ["--drain", "--leave"])
def test_e11_a_shutdown_that_spares_the_runs_keeps_the_queue(daemon: Daemon, policy: str) -> None:
    running = daemon.submit("sh", "-c", "until test -e go; do sleep 0.05; done")
    daemon.wait_state(running, "running")
    daemon.run("queue", "pause", "default")
    queued = daemon.submit("true")

    daemon.run("shutdown", policy)
    (daemon.home / "go").touch()
    assert daemon.wait() == 0

    daemon.start()
    assert daemon.wait_state(running, "ended")["outcome"] == "succeeded"
    assert daemon.show(queued)["state"] == "queued"


def submit_to_one_slot(daemon: Daemon, queue: str, runs: list[dict[str, Any]]) -> list[int]:
    """Submit, one by one, to a new paused queue of one slot; then see them all through."""
    with daemon.client() as client:
        client.queue_set(queue, slots=1)
        client.queue_pause(queue)
        ids = [client.submit(["true"], queue=queue, **options).id for options in runs]
        client.queue_resume(queue)
        client.wait(ids)
    return ids


def a_spec(*argv: str) -> dict[str, Any]:
    return {"workload": {"kind": "command", "argv": list(argv)}}


def granted(events: Iterable[EventRecord]) -> list[int]:
    """The runs in the order in which they were given a slot."""
    return [event.run_id for event in events if event.event == "slot_granted"]


def states(daemon: Daemon, ids: list[int]) -> list[str]:
    with daemon.client() as client:
        return [run["state"] for run in client.runs(selection=ids)]


def most_at_once(runs: Iterable[Any]) -> int:
    """How many of the runs were running at the same time, at most."""
    moments = [(moment(run["started_at"]), 1) for run in runs]
    moments += [(moment(run["finished_at"]), -1) for run in runs]
    live = most = 0
    for _, change in sorted(moments):
        live += change
        most = max(most, live)
    return most


def seconds(begin: Any, end: Any) -> float:
    return (moment(end) - moment(begin)).total_seconds()


def moment(text: Any) -> datetime:
    return datetime.fromisoformat(str(text))
