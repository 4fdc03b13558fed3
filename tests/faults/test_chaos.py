"""Kills at random under load; afterwards every promise must have been kept.

The long form (`make chaos`) is 10,000 no-op and 200 long runs with a kill every two seconds, for
30 minutes or 1,000 kills. Its figures are printed at the end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from intendant.process.identity import children, process_stat
from tests.faults.judge import assert_sound, judge
from tests.faults.load import Submitter, runs_have_ended
from tests.faults.strays import Strays
from tests.helpers.daemon import Daemon
from tests.helpers.waiting import wait_for
from tests.helpers.witness import Witness

VICTIMS = ("executor", "broker", "zygote", "governor")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it."""

    no_ops: int
    long_runs: int
    long_s: float
    more: int
    """How many are submitted again whenever all have ended and the killing has not."""
    kills: int
    pause_s: float
    limit_s: float


SHORT = Plan(no_ops=40, long_runs=6, long_s=2.0, more=20, kills=8, pause_s=0.4, limit_s=60.0)
LONG = Plan(
    no_ops=10_000, long_runs=200, long_s=40.0, more=500, kills=1_000, pause_s=2.0, limit_s=1_800.0
)


class Killer:
    """Kills one process of the daemon at a time, each kind as likely as the others."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self._daemon = daemon
        self._random = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def kill_one(self) -> None:
        """SIGKILL to one; the daemon is started again when it was the one."""
        kind = self._random.choice(VICTIMS)
        pids = self._pids(kind)
        if not pids:
            return
        pid = self._random.choice(pids)
        if kind == "executor":
            self._daemon.kill()
            self._daemon.start("--slots", "4")
        else:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.killed[kind] += 1

    def _pids(self, kind: str) -> list[int]:
        if kind == "executor":
            return [self._daemon.pid]
        if kind == "governor":
            return [pid for pid in self._claimed() if process_stat(pid) is not None]
        title = f"intendant: {kind}"
        below = children(self._daemon.pid)
        return [pid for pid in below if _title(pid).startswith(title)]

    def _claimed(self) -> list[int]:
        """Governors by their claims: also those that an earlier daemon launched."""
        found = []
        for claim in self._daemon.state_dir.glob("spool/*/*/claim"):
            if (claim.parent / "exit.json").exists():
                continue
            with suppress(OSError, ValueError):
                said = json.loads(claim.read_bytes())
                stat = process_stat(said.get("pid", 0))
                if stat is not None and stat.start_time == said["start_time"]:
                    found.append(said["pid"])
        return found


@pytest.mark.timeout(400)
def test_random_kills_under_load_break_no_promise(
    folders: Daemon, strays: Strays, is_long: bool
) -> None:
    plan = LONG if is_long else SHORT
    seed = int(os.environ.get("INTENDANT_TEST_SEED", str(time.time_ns() % 1_000_000)))
    sys.stdout.write(f"seed {seed}\n")
    witness = Witness(folders.home / "witness")
    submitter = Submitter(folders)
    killer = Killer(folders, seed)
    folders.start("--slots", "4")
    scripts = _scripts(plan, witness, strays, random.Random(seed))
    for script in scripts:
        submitter.submit(script)

    began = time.monotonic()
    next_kill = began
    while True:
        idle = _is_idle(folders) and submitter.is_sure
        now = time.monotonic()
        may_kill = killer.killed.total() < plan.kills and now - began < plan.limit_s
        if idle and not may_kill:
            break
        if may_kill and now >= next_kill:
            killer.kill_one()
            next_kill = now + plan.pause_s
        submitter.try_again()
        if idle:  # the load is used up before the time is
            for script in scripts[: plan.more]:
                submitter.submit(script)
        assert now - began < 4 * plan.limit_s, "the runs do not come to an end"

    found = judge(folders, witness, strays, accepted=submitter.accepted.values())
    outcomes, took_s = found.outcomes, time.monotonic() - began
    sys.stdout.write(
        f"killed {dict(killer.killed)}; runs {dict(outcomes)}; tree_unverified "
        f"{len(found.unverified)}, their survivors {found.survivors}; {took_s:.0f} s\n"
    )
    assert outcomes.total() == len(submitter.accepted) >= len(scripts)
    assert outcomes["succeeded"] >= outcomes.total() - killer.killed["governor"]
    assert folders.stop() == 143
    folders.assert_nothing_left()
    assert_sound(folders)


def _scripts(plan: Plan, witness: Witness, strays: Strays, order: random.Random) -> list[str]:
    begin = f"{witness.says('start')}; {strays.leave}"
    no_op = f"{witness.says('start')}; {witness.says('end')}"
    long_run = f"{begin}; sleep {plan.long_s}; {witness.says('end')}"
    scripts = [no_op] * plan.no_ops + [long_run] * plan.long_runs
    order.shuffle(scripts)
    return scripts


def _is_idle(daemon: Daemon) -> bool:
    """Whether the daemon answers that every run has ended."""
    wait_for("the daemon answers", lambda: _answers(daemon))
    return runs_have_ended(daemon)


def _answers(daemon: Daemon) -> bool:
    if daemon.running.poll() is not None:
        daemon.start("--slots", "4")  # it gave up on a broker that was killed too often
    return daemon.answers()


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""
