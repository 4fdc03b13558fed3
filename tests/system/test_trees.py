"""Whole trees: whatever a workload starts and wherever that goes, the end of the run is its end.

The truth is a scan of /proc for a text in the arguments, which no descendant here gets rid of.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import unruly
from tests.helpers.daemon import Daemon, daemon_folders
from tests.helpers.ground_truth import event_names, is_alive, processes_with, run_rows
from tests.helpers.trees import METHODS
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Gate, Witness

KINDS = sorted(kind for kind in unruly.KINDS if kind != "leaves_a_daemon_and_ends")


@pytest.fixture
def marker() -> Iterator[str]:
    """A text for arguments; whoever bears it still is killed after the test."""
    text = f"marker-{uuid.uuid4().hex}"
    yield text
    while left := processes_with(text):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path / "witness")


@pytest.fixture(scope="module", params=METHODS)
def keeping(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon for each way to keep trees together, for all tests that leave it as it was."""
    with daemon_folders() as daemon:
        start_with(daemon, request.param)
        yield daemon


def start_with(daemon: Daemon, method: str) -> None:
    """A daemon that keeps trees together in this way."""
    config = daemon.home / "settings.toml"
    config.write_text(f'slots = 4\ntree = "{method}"\n')
    daemon.start("--config", str(config))
    assert daemon.status()["tree_method"] == method


def submit_unruly(daemon: Daemon, kind: str, marker: str, *, grace_s: float = 0.3) -> int:
    """An unruly workload that is ready; its run's id."""
    ready = daemon.home / f"ready-{marker}"
    argv = [sys.executable, "-S", "-E", unruly.__file__, kind, marker, str(ready)]
    with daemon.client() as client:
        run = client.submit(argv, grace_s=grace_s)
    wait_for("the workload is ready", ready.exists)
    daemon.wait_state(run.id, "running")
    return run.id


def ended(daemon: Daemon, run_id: int, **expected: Any) -> None:
    """Wait for the end, as the row on disk has it."""
    daemon.wait_state(run_id, "ended")
    row = run_rows(daemon.state_dir)[run_id]
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_run_leaves_nothing(keeping: Daemon, kind: str, marker: str) -> None:
    run_id = submit_unruly(keeping, kind, marker)
    wait_for("it has a tree", lambda: len(processes_with(marker)) > 1)
    assert keeping.run("cancel", str(run_id)).returncode == 0
    ended(keeping, run_id, outcome="cancelled")
    assert not processes_with(marker)


@pytest.mark.parametrize("kind", KINDS)
def test_the_death_of_the_governor_leaves_nothing(keeping: Daemon, kind: str, marker: str) -> None:
    run_id = submit_unruly(keeping, kind, marker)
    os.kill(keeping.claim(run_id)["pid"], signal.SIGKILL)
    ended(keeping, run_id, outcome="interrupted", reason="governor_lost")
    assert not processes_with(marker)


def test_the_death_of_one_governor_harms_no_other_run(
    folders: Daemon, witness: Witness, marker: str
) -> None:
    start_with(folders, "subreaper")
    with Gate(folders.home / "gate") as gate:
        others = folders.submit_scripts(witness.patient(gate, status=3), times=3)
        witness.wait_started(3)
        run_id = submit_unruly(folders, "hops", marker)
        os.kill(folders.claim(run_id)["pid"], signal.SIGKILL)
        ended(folders, run_id, outcome="interrupted")
        assert not processes_with(marker)
        gate.open()
        for other in others:
            ended(folders, other, exit_code=3)


def test_a_daemon_that_the_workload_left_gets_sigterm_a_grace_and_sigkill(
    keeping: Daemon, marker: str
) -> None:
    began = time.monotonic()
    run_id = submit_leaving(keeping, marker, grace_s=1.0)
    ended(keeping, run_id, outcome="succeeded", exit_code=0)
    assert time.monotonic() - began >= 1.0
    assert not processes_with(marker)
    notes = [name for name in event_names(keeping.state_dir, run_id) if name in NOTES]
    assert notes == NOTES


NOTES = ["term_sent", "grace_expired", "tree_killed"]


def submit_leaving(daemon: Daemon, marker: str, *, grace_s: float) -> int:
    """A workload that ends well and leaves a daemon that ignores SIGTERM."""
    ready = daemon.home / f"ready-{marker}"
    kind = "leaves_a_daemon_and_ends"
    argv = [sys.executable, "-S", "-E", unruly.__file__, kind, marker, str(ready)]
    with daemon.client() as client:
        return client.submit(argv, grace_s=grace_s).id


@pytest.mark.parametrize("method", METHODS)
def test_an_adopted_tree_is_ended_by_its_governor(
    folders: Daemon, method: str, marker: str
) -> None:
    start_with(folders, method)
    run_id = submit_unruly(folders, "hops", marker)
    folders.kill()
    start_with(folders, method)
    assert folders.run("cancel", str(run_id)).returncode == 0
    ended(folders, run_id, outcome="cancelled")
    assert not processes_with(marker)


def test_without_a_cgroup_an_adopted_tree_that_lost_its_governor_is_called_unverified(
    folders: Daemon, marker: str
) -> None:
    start_with(folders, "subreaper")
    run_id = submit_unruly(folders, "ignores_sigterm", marker)
    folders.kill()
    start_with(folders, "subreaper")
    os.kill(folders.claim(run_id)["pid"], signal.SIGKILL)
    ended(folders, run_id, outcome="interrupted", reason="governor_lost; tree_unverified")
    assert not processes_with(marker)


@pytest.mark.skipif("cgroup" not in METHODS, reason="no cgroup v2 can be written here")
def test_with_a_cgroup_even_what_left_the_session_of_a_lost_adopted_governor_is_found(
    folders: Daemon, marker: str
) -> None:
    start_with(folders, "cgroup")
    run_id = submit_unruly(folders, "hops", marker)
    folders.kill()
    os.kill(folders.claim(run_id)["pid"], signal.SIGKILL)
    start_with(folders, "cgroup")
    ended(folders, run_id, outcome="interrupted", reason="governor_lost")
    assert not processes_with(marker)
    claim = json.loads((folders.attempt_folder(run_id) / "claim").read_bytes())
    assert not Path(claim["cgroup"]).exists()


# --- cancel, in each state -----------------------------------------------------------------------


def test_a_held_run_is_cancelled_and_never_starts(served: Daemon, witness: Witness) -> None:
    run_id = served.submit("sh", "-c", witness.says("start"), flags=["--hold"])
    assert served.run("cancel", str(run_id)).returncode == 0
    ended(served, run_id, outcome="cancelled", attempt=0)
    assert not witness.lines()


def test_a_queued_run_is_cancelled_and_never_starts(folders: Daemon, witness: Witness) -> None:
    folders.start("--slots", "1")
    with Gate(folders.home / "gate") as gate:
        [first] = folders.submit_scripts(witness.patient(gate))
        witness.wait_started()
        [second] = folders.submit_scripts(witness.says("second"))
        assert folders.run("cancel", str(second)).returncode == 0
        gate.open()
        ended(folders, first, outcome="succeeded")
    ended(folders, second, outcome="cancelled", attempt=0)
    assert not witness.lines("second")


def test_a_starting_run_is_cancelled_and_never_starts(daemon: Daemon, witness: Witness) -> None:
    zygote = daemon.ready_zygote()
    os.kill(zygote, signal.SIGSTOP)
    [run_id] = daemon.submit_scripts(witness.says("start"))
    daemon.wait_state(run_id, "starting")
    assert daemon.run("cancel", str(run_id)).returncode == 0
    ended(daemon, run_id, outcome="cancelled")  # though the launcher hangs
    os.kill(zygote, signal.SIGCONT)
    assert daemon.run("submit", "--wait", "--", "true").returncode == 0
    assert not witness.lines()
    assert daemon.stop() == 143
    daemon.assert_nothing_left()


def test_a_cancel_of_a_stopping_run_changes_nothing_but_its_haste(
    served: Daemon, witness: Witness
) -> None:
    [run_id] = served.submit_scripts(witness.stubborn(), grace_s=300.0)
    [pid] = witness.wait_started()
    served.wait_state(run_id, "running")
    assert served.run("cancel", str(run_id), "--reason", "first").returncode == 0
    assert served.run("cancel", str(run_id), "--reason", "second").returncode == 0
    assert is_alive(pid)
    assert served.run("cancel", str(run_id), "--now").returncode == 0
    wait_for("the workload is gone", lambda: not is_alive(pid))
    ended(served, run_id, outcome="cancelled")
    assert run_rows(served.state_dir)[run_id]["reason"].endswith(": first")


def test_a_cancel_of_an_ended_run_changes_nothing(served: Daemon) -> None:
    run_id = served.submit("sh", "-c", "exit 3")
    served.wait_state(run_id, "ended")
    before = run_rows(served.state_dir)[run_id]
    served.run("cancel", str(run_id))
    assert run_rows(served.state_dir)[run_id] == before


def test_cancel_now_does_not_wait_for_a_stopped_governor(served: Daemon, witness: Witness) -> None:
    [run_id] = served.submit_scripts(witness.stubborn(), grace_s=300.0)
    [pid] = witness.wait_started()
    served.wait_state(run_id, "running")
    os.kill(served.claim(run_id)["pid"], signal.SIGSTOP)
    assert served.run("cancel", str(run_id)).returncode == 0
    assert served.run("cancel", str(run_id), "--now").returncode == 0
    wait_for("the workload is gone", lambda: not is_alive(pid))
    ended(served, run_id, outcome="cancelled")


def test_twenty_runs_that_ignore_sigterm_are_cancelled_in_one_grace(
    folders: Daemon, witness: Witness
) -> None:
    folders.start("--slots", "20")
    ids = folders.submit_scripts(witness.stubborn(), times=20, grace_s=2.5)
    pids = witness.wait_started(20)
    began = time.monotonic()
    assert folders.run("cancel", "all").returncode == 0
    wait_for("all are gone", lambda: not any(map(is_alive, pids)))
    assert 2.5 <= time.monotonic() - began < 45.0  # one after another: fifty seconds
    for run_id in ids:
        ended(folders, run_id, outcome="cancelled")
