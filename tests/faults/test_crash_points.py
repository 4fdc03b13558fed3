"""Every crash point once: whoever dies there, nothing is lost, doubled, left behind or untrue."""

from __future__ import annotations

import json

import pytest

from intendant.process.crashpoints import POINTS, VARIABLE
from tests.faults.judge import judge
from tests.faults.load import Submitter
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Witness

COUNTS = {"broker.received": 40, "writer.before_commit": 6, "writer.committed": 6}
"""Points that would be reached before anything has begun: which time counts instead."""
RUNS = 4


LAUNCHING = ("zygote.", "middle.", "governor.")
"""Who dies there dies at every launch: runs may end otherwise than well, but truly."""


def _runs_have_ended(daemon: Daemon) -> bool:
    """Whether the daemon answers and says so."""
    status = daemon.run("status", "--json")
    if status.returncode != 0:
        return False
    counts: dict[str, int] = json.loads(status.stdout)["runs"]
    return sum(counts.values()) == counts["ended"]


def _has_settled(daemon: Daemon) -> bool:
    """Whether the daemon is gone, or has nothing left to do."""
    return daemon.running.poll() is not None or _runs_have_ended(daemon)


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_nothing_doubles_nothing_and_leaves_nothing(
    folders: Daemon, point: str
) -> None:
    witness = Witness(folders.home / "witness")
    submitter = Submitter(folders)
    proof = folders.home / "crashed"
    armed = f"{point}:{COUNTS.get(point, 1)}:{proof}"
    folders.launch("--slots", "2", environment={VARIABLE: armed})
    wait_for("the daemon serves or is gone", lambda: _is_up(folders))
    for number in range(RUNS):
        submitter.submit(f"{witness.says('start')}; sleep 0.{number}; {witness.says('end')}")
    if point == "executor.stop_recorded":
        folders.run("cancel", "all")
    wait_for("the daemon has settled", lambda: _has_settled(folders), within_s=40.0)
    if point == "executor.pruned":
        folders.run("prune", "--older", "0s")
    assert proof.exists(), f"nobody came by {point}"
    if folders.running.poll() is None:
        folders.kill()

    folders.start("--slots", "2")
    submitter.try_again()
    assert submitter.is_sure
    wait_for("every run has ended", lambda: _runs_have_ended(folders), within_s=40.0)
    if point == "executor.pruned":  # what it removed is not lost, it was asked for
        submitter.accepted.clear()
    outcomes = judge(folders, witness, accepted=submitter.accepted.values())

    assert outcomes.total() == RUNS or point == "executor.pruned"
    if not point.startswith(LAUNCHING):
        assert set(outcomes) <= {"succeeded", "cancelled"}, outcomes
    assert folders.stop() == 143
    folders.assert_nothing_left()


def _is_up(daemon: Daemon) -> bool:
    return daemon.running.poll() is not None or daemon.run("status").returncode == 0
