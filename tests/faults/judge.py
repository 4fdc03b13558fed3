"""What must be true after any fault: read from database, spool, /proc and the witness file.

The daemon's own claims count for nothing here. Call it when every run has ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import apsw

from intendant.executor.fsck import UNVERIFIED, fsck
from intendant.protocol.records import ClaimRecord
from intendant.store.spool import Spool
from tests.faults.strays import Strays
from tests.helpers.daemon import Daemon
from tests.helpers.stores import check_invariants, rows
from tests.helpers.witness import Witness


@dataclass(frozen=True, slots=True)
class Judgement:
    """The rows of all runs, and of those whose tree nobody could know: the ids, and survivors."""

    runs: list[dict[str, Any]]
    unverified: set[int]
    survivors: int

    @property
    def outcomes(self) -> Counter[str]:
        """How the runs ended."""
        return Counter(run["outcome"] for run in self.runs)


def judge(
    daemon: Daemon, witness: Witness, strays: Strays, *, accepted: Collection[int]
) -> Judgement:
    """Fail unless every promise was kept; how the runs ended."""
    database = daemon.state_dir / "intendant.db"
    check_invariants(database)
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        runs = rows(connection, "SELECT * FROM run")
        attempts = rows(connection, "SELECT * FROM attempt")
    finally:
        connection.close()
    lost = set(accepted) - {run["id"] for run in runs}
    assert not lost, f"accepted runs that nobody knows any more: {sorted(lost)}"
    open_runs = [(run["id"], run["state"]) for run in runs if run["state"] != "ended"]
    assert not open_runs, f"runs that have not ended: {open_runs}"
    witness.assert_no_attempt_started_twice()
    _assert_ends_are_true(attempts, witness)
    _assert_attempts_never_overlap(witness)
    _assert_records_agree(daemon, attempts)
    unverified = _unverified(daemon, attempts)
    workloads = {pid: what for pid, what in daemon.processes().items() if "witness" in what}
    assert not workloads, f"processes that outlived their runs: {workloads}"
    alive = strays.alive()
    assert alive.keys() <= unverified, f"processes that outlived their runs: {alive}"
    strays.kill()
    return Judgement(runs, unverified, sum(map(len, alive.values())))


def assert_sound(daemon: Daemon) -> None:
    """Fail unless `intendant fsck` is content; call it when the daemon has ended."""
    report = fsck(daemon.state_dir)
    assert report.is_sound, report.findings


def _unverified(daemon: Daemon, attempts: list[dict[str, Any]]) -> set[int]:
    """The runs of whose trees nobody could know; never those that had a cgroup."""
    found = [attempt for attempt in attempts if UNVERIFIED in (attempt["reason"] or "")]
    spool = Spool(daemon.state_dir / "spool")
    for attempt in found:
        claim = spool.attempt(attempt["run_id"], attempt["attempt"]).read_claim()
        assert not isinstance(claim, ClaimRecord) or claim.cgroup is None, attempt
    return {attempt["run_id"] for attempt in found}


def _assert_ends_are_true(attempts: list[dict[str, Any]], witness: Witness) -> None:
    started = {(line.run_id, line.attempt) for line in witness.lines("start")}
    finished = {(line.run_id, line.attempt) for line in witness.lines("end")}
    for attempt in attempts:
        key = (attempt["run_id"], attempt["attempt"])
        if attempt["outcome"] == "succeeded":
            assert key in finished, f"attempt {key} is said to have succeeded, and never ended"
        if (attempt["reason"] or "").startswith("not_started"):
            assert key not in started, f"attempt {key} is said not to have started, and did"


def _assert_attempts_never_overlap(witness: Witness) -> None:
    """Attempt n + 1 starts after attempt n is gone: its lines come after all of attempt n's."""
    newest: dict[int, int] = {}
    for line in witness.lines():
        assert line.attempt >= newest.get(line.run_id, 0), f"attempts overlap: {line}"
        newest[line.run_id] = line.attempt


def _assert_records_agree(daemon: Daemon, attempts: list[dict[str, Any]]) -> None:
    spool = Spool(daemon.state_dir / "spool")
    for attempt in attempts:
        record = spool.attempt(attempt["run_id"], attempt["attempt"]).read_exit()
        if record is not None and record.token_sha256 == attempt["token_sha256"]:
            found = (attempt["exit_code"], attempt["signal"])
            assert found == (record.exit_code, record.signal), f"{attempt} against {record}"
