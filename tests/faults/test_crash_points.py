"""Every crash point once: whoever dies there, nothing is lost, doubled, left behind or untrue."""

from __future__ import annotations

import pytest

from intendant.process.crashpoints import POINTS, VARIABLE
from tests.faults.judge import assert_sound, judge
from tests.faults.load import Submitter, runs_have_ended
from tests.faults.strays import Strays
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Witness

COUNTS = {"broker.received": 40, "writer.before_commit": 6, "writer.committed": 6}
"""Points that would be reached before anything has begun: which time counts instead."""
LAUNCHERS = {"middle.forked": "portable"}
"""Points that only this launcher comes by on every kernel."""
RUNS = 4
SLOTS = {"zygote.asked": RUNS}
"""Where each launch costs a zygote and a longer pause: all runs at once; elsewhere 2."""
SETTLED_S = 90.0


SUCCEEDED = ("succeeded", "")
NEVER_LAUNCHED = ("failed", "launch_failed")
LOST = ("interrupted", "governor_lost")
ENDS = {
    "executor.stop_recorded": {SUCCEEDED, ("cancelled", "cancelled")},
    "zygote.asked": {NEVER_LAUNCHED},
    "governor.session_made": {NEVER_LAUNCHED},
    "governor.start_asked": {NEVER_LAUNCHED},
    "governor.claimed": {LOST},
    "governor.workload_started": {LOST},
    "governor.workload_ended": {LOST},
}
"""How runs end, and why. Zygotes and governors that die there do so at every launch; elsewhere
all runs succeed."""


def _has_settled(daemon: Daemon) -> bool:
    """Whether the daemon is gone, or has nothing left to do."""
    return daemon.running.poll() is not None or runs_have_ended(daemon)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_loses_nothing_doubles_nothing_and_leaves_nothing(
    folders: Daemon, strays: Strays, point: str, method: str
) -> None:
    config = folders.home / "settings.toml"
    config.write_text(f'slots = {SLOTS.get(point, 2)}\ntree = "{method}"\n')
    witness = Witness(folders.home / "witness")
    submitter = Submitter(folders)
    proof = folders.home / "crashed"
    armed = f"{point}:{COUNTS.get(point, 1)}:{proof}"
    launcher = {"INTENDANT_LAUNCHER": LAUNCHERS.get(point, "zygote")}
    folders.launch("--config", str(config), environment={VARIABLE: armed, **launcher})
    wait_for("the daemon serves or is gone", lambda: _is_up(folders))
    for number in range(RUNS):
        submitter.submit(
            f"{witness.says('start')}; {strays.leave}; sleep 0.{number}; {witness.says('end')}"
        )
    if point == "executor.stop_recorded":
        folders.run("cancel", "all")
    wait_for("the daemon has settled", lambda: _has_settled(folders), within_s=SETTLED_S)
    if point == "executor.pruned":
        folders.run("prune", "--older", "0s")
    assert proof.exists(), f"nobody came by {point}"
    if folders.running.poll() is None:
        folders.kill()

    folders.start("--config", str(config))
    wait_for("all are accepted", submitter.is_sure_in_the_end)
    wait_for("every run has ended", lambda: runs_have_ended(folders), within_s=SETTLED_S)
    if point == "executor.pruned":  # what it removed is not lost, it was asked for
        submitter.accepted.clear()
    found = judge(folders, witness, strays, accepted=submitter.accepted.values())

    assert len(found.runs) == RUNS or point == "executor.pruned"
    ends = {(run["outcome"], (run["reason"] or "").partition(":")[0]) for run in found.runs}
    assert ends <= ENDS.get(point, {SUCCEEDED})
    assert not found.unverified
    assert folders.stop() == 143
    folders.assert_nothing_left()
    assert_sound(folders)


def _is_up(daemon: Daemon) -> bool:
    return daemon.running.poll() is not None or daemon.answers()
