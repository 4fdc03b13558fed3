"""Many runs of many clients at once: all end, in order, and nothing is left of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from intendant.protocol.records import EventRecord
from tests.helpers.daemon import Daemon
from tests.helpers.ground_truth import zombies_of
from tests.helpers.stores import check_invariants
from tests.helpers.waiting import wait_for

CLIENTS, SLOTS = 8, 4
EACH, EACH_IN_THE_LONG_FORM = 20, 63
KEPT = 2 * (CLIENTS + SLOTS)
"""Connections that a process may keep beyond those of before: as many as were needed at once."""


@pytest.fixture
def warm(folders: Daemon) -> Daemon:
    """A daemon that has made what it makes once: connections, threads, caches."""
    folders.start("--slots", str(SLOTS))
    folders.run("queue", "set", "narrow", "--slots", "1")
    folders.run("queue", "set", "wide", "--slots", "3")
    submit_from_many_clients(folders, each=4)
    return folders


@pytest.mark.timeout(300)
def test_runs_of_8_clients_in_2_queues_all_end_in_order_and_leave_nothing(
    warm: Daemon, is_long: bool
) -> None:
    each = EACH_IN_THE_LONG_FORM if is_long else EACH
    count = CLIENTS * each
    before = open_files(warm)
    first = warm.status()["runs"]["ended"] + 1
    for queue in ("narrow", "wide"):
        warm.run("queue", "pause", queue)

    with ThreadPoolExecutor(1) as waiter:
        submitted = waiter.submit(submit_from_many_clients, warm, each=each)
        wait_for("all are queued", lambda: warm.status()["runs"]["queued"] == count)
        for queue in ("narrow", "wide"):
            warm.run("queue", "resume", queue)
        submitted.result(250)

    assert_all_succeeded(warm, at_least=count)
    started = assert_started_in_order([one for one in warm.events() if one.run_id >= first], warm)
    assert started == count
    assert_nothing_grew(warm, before)
    assert warm.stop() == 143
    check_invariants(warm.state_dir / "intendant.db")


def submit_from_many_clients(daemon: Daemon, *, each: int) -> None:
    """Every client submits, one by one, and waits for all of its runs."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        for done in [clients.submit(submit_and_wait, daemon, at, each) for at in range(CLIENTS)]:
            done.result(250)


def submit_and_wait(daemon: Daemon, at: int, each: int) -> None:
    with daemon.client() as client:
        ids = [
            client.submit(
                ["true"], queue="narrow" if number % 4 == 0 else "wide", priority=(at + number) % 3
            ).id
            for number in range(each)
        ]
        client.wait(ids)


def assert_all_succeeded(daemon: Daemon, *, at_least: int) -> None:
    with daemon.client() as client:
        runs = client.runs(limit=None)
    assert {(run["state"], run["outcome"], run["attempt"]) for run in runs} == {
        ("ended", "succeeded", 1)
    }
    assert len({run["id"] for run in runs}) == len(runs) >= at_least


def assert_started_in_order(events: list[EventRecord], daemon: Daemon) -> int:
    """In each queue by priority, then by submission; how many there were.

    Slots that are free at the same moment are filled at the same moment: of n runs that start
    together any may be the first, so that in a queue of n slots a run is at most n - 1 places off.
    """
    with daemon.client() as client:
        runs = {run["id"]: run for run in client.runs(limit=None)}
    started = defaultdict(list)
    for event in events:
        if event.event == "slot_granted":
            started[runs[event.run_id]["queue"]].append(event.run_id)
    for queue, slots in (("narrow", 1), ("wide", 3)):
        expected = sorted(started[queue], key=lambda run_id: (-runs[run_id]["priority"], run_id))
        places = {run_id: place for place, run_id in enumerate(expected)}
        off = [abs(places[run_id] - place) for place, run_id in enumerate(started[queue])]
        assert max(off) < slots, queue
    return sum(map(len, started.values()))


def assert_nothing_grew(daemon: Daemon, before: dict[str, int]) -> None:
    """No child or zombie more than before, nor more descriptors but for kept connections."""
    wait_for("the helpers are the only children", lambda: len(children(daemon)) <= 3)
    wait_for("no zombie is left", lambda: not zombies_of(daemon.pid))
    wait_for("all descriptors are closed", is_no_more(lambda: open_files(daemon), before))


def children(daemon: Daemon) -> list[psutil.Process]:
    return psutil.Process(daemon.pid).children(recursive=True)


def open_files(daemon: Daemon) -> dict[str, int]:
    """How many descriptors the daemon and each of its helpers have."""
    return dict(helper_files(daemon))


def helper_files(daemon: Daemon) -> Iterator[tuple[str, int]]:
    status = daemon.status()
    helpers = {"executor": daemon.pid}
    helpers |= {role: status[role]["pid"] for role in ("broker", "zygote")}
    for role, pid in helpers.items():
        yield role, len([*Path(f"/proc/{pid}/fd").iterdir()])


def is_no_more(
    count: Callable[[], dict[str, int]], before: dict[str, int]
) -> Callable[[], bool | dict[str, int]]:
    """Whether no count is above what it was by more than may be kept."""

    def look() -> bool:
        now = count()
        return all(now[role] <= before[role] + KEPT for role in before)

    return look
