"""Database, spool and processes against each other, while no daemon runs.

A fault is something that must never be, whatever was killed when. A note is something that the
next daemon mends: what it was about to record, or to clean up.

What has to be true of a state folder at any time, and the findings that say it is not:

| what | code |
|---|---|
| an accepted run is there until it is pruned, and that is in the log | `lost_run`, `events` |
| an attempt starts once at most, by whoever has claimed it | `attempts`, `claim` |
| a run has one attempt at a time; their numbers rise by one | `attempts` |
| a run's events are whole, only legal moves, and give its row | `events`, `replay`, `counts` |
| what has ended never changes | `events`, `replay` |
| who succeeded, failed or ran out of time left an exit record with his token | `exit_record` |
| nothing lives of an attempt that is over, its governor included | `survivor` |
| a submission key stands for one run | `keys` |
| what waits for others counts them right, and they exist | `dependencies`, `references` |
| no run is `starting` for ever | `starting` (a note) |
| somebody governs what is live | `governor_gone` (a note) |
| an end that was written down is recorded | `not_recorded` (a note) |
| the database is that of the spool | `database_lost` |
| nothing is left behind in the spool, nothing planted | `stray_folder`, `stray_file`, `link` |
| the files can be read | `database`, `damage`, `spool` |
| no second daemon uses the folder | `FolderLocked` is raised |

Some promises leave no trace that could be looked at afterwards, and are shown by tests alone: how
many runs a queue had at once (the slots of then are not kept), in which order they started (nor is
who was held or paused), and that logs hold every byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from pydantic import ValidationError

from intendant.errors import FolderLocked, StoreError
from intendant.executor.fsck_processes import find_processes, lives
from intendant.process.cgroup import Cgroup
from intendant.process.identity import boot_id, process_stat
from intendant.protocol.folders import DATABASE
from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome, RunState
from intendant.store.check import DAMAGE, Finding, KeptAttempt, KeptRecords, kept_records
from intendant.store.lock import lock_folder
from intendant.store.spool import AttemptFolder, DamagedClaim, Spool

NOT_STARTED = "not_started"
UNVERIFIED = "tree_unverified"
_PROVEN = frozenset({Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT})
"""What only the governor's own record can say."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and among how many runs."""

    runs: int
    findings: list[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.is_fault for finding in self.findings)


def fsck(state_dir: Path) -> Report:
    """Look at everything; `FolderLocked` while a daemon runs, for then it all moves."""
    if not (state_dir / DATABASE).is_file():
        raise StoreError(f"{state_dir} holds no database of ours")
    try:
        lock = lock_folder(state_dir)
    except FolderLocked as error:
        raise FolderLocked(f"{error}; fsck needs it stopped: 'intendant shutdown'") from error
    with lock:
        return examine(state_dir)


def examine(state_dir: Path) -> Report:
    """Look at everything in a folder that nobody else changes."""
    findings: list[Finding] = []
    runs = 0
    try:
        with kept_records(state_dir / DATABASE) as records:
            run_ids = records.run_ids()
            runs = len(run_ids)
            findings += records.findings()
            if not any(finding.code == DAMAGE for finding in findings):
                findings += Examination(Spool(state_dir / "spool"), records, run_ids).findings()
    except StoreError as error:
        findings.append(Finding("database", str(error)))
    return Report(runs, findings)


class Examination:
    """Spool and processes, as the database says they must be."""

    def __init__(self, spool: Spool, records: KeptRecords, run_ids: set[int]) -> None:
        self._spool = spool
        self._records = records
        self._run_ids = run_ids
        self._boot_id = boot_id()
        self._processes = find_processes(spool.root)
        self._unverified: set[tuple[int, int]] = set()
        self._live: set[tuple[int, int]] = set()

    def findings(self) -> Iterator[Finding]:
        """All that does not fit."""
        newest: dict[int, int] = {}
        for attempt in self._records.attempts():
            newest[attempt.run_id] = attempt.newest
            if attempt.is_live:
                self._live.add((attempt.run_id, attempt.attempt))
            if UNVERIFIED in attempt.reason:
                self._unverified.add((attempt.run_id, attempt.attempt))
            yield from self._attempt(attempt)
        yield from self._folders(newest)
        yield from self._governors()

    # --- one attempt -----------------------------------------------------------------------------

    def _attempt(self, attempt: KeptAttempt) -> Iterator[Finding]:
        folder = self._spool.attempt(attempt.run_id, attempt.attempt)
        try:
            claim, record = folder.read_claim(), folder.read_exit()
        except (OSError, ValidationError) as error:
            text = f"the folder of {attempt.name} can't be read: {error}"
            yield Finding("spool", text, attempt.run_id)
            return
        is_unclaimed = claim is None or isinstance(claim, TombstoneRecord)
        if isinstance(claim, DamagedClaim):
            text = f"the claim of {attempt.name} can't be read: {claim.error}"
            yield Finding("spool", text, attempt.run_id)
            claim = None
        yield from _claim_fits(attempt, claim)
        yield from _exit_fits(attempt, record, has_file=folder.exit_path.exists())
        yield from _left_behind(attempt, folder)
        if attempt.is_live and not _is_own(record, attempt):
            yield from self._goes_on(attempt, claim, is_unclaimed=is_unclaimed)
        elif isinstance(claim, ClaimRecord) and claim.boot_id == self._boot_id:
            yield from self._processes_fit(attempt, claim)

    def _goes_on(
        self,
        attempt: KeptAttempt,
        claim: ClaimRecord | TombstoneRecord | None,
        *,
        is_unclaimed: bool,
    ) -> Iterator[Finding]:
        """Somebody sees to what is not over; where nobody does, the next daemon will."""
        if not _claims(claim, attempt):
            if is_unclaimed and not attempt.has_started:
                yield Finding("starting", _not_claimed(attempt), attempt.run_id, is_fault=False)
            return
        is_there = claim.boot_id == self._boot_id and lives(claim)
        if not is_there:
            yield Finding("governor_gone", _gone(attempt), attempt.run_id, is_fault=False)
        elif attempt.state is RunState.STARTING:
            text = (
                f"{attempt.is_in}, its governor lives: pid {claim.pid}; the next daemon adopts it"
            )
            yield Finding("starting", text, attempt.run_id, is_fault=False)

    def _processes_fit(self, attempt: KeptAttempt, claim: ClaimRecord) -> Iterator[Finding]:
        """Nothing of an attempt lives once it is over."""
        if attempt.is_live:
            return
        if lives(claim):
            text = f"{attempt.name} is over, its governor lives: pid {claim.pid}"
            yield Finding("survivor", text, attempt.run_id)
        elif process_stat(claim.pid) is None and (members := self._processes.left_in(claim.pid)):
            pids = ", ".join(map(str, members))
            text = f"{attempt.name} is over, processes of its session live: pid {pids}"
            is_fault = UNVERIFIED not in attempt.reason
            yield Finding("survivor", text, attempt.run_id, is_fault=is_fault)
        if claim.cgroup is not None and not Cgroup(Path(claim.cgroup)).is_empty():
            text = f"{attempt.name} is over, its cgroup is not empty: {claim.cgroup}"
            yield Finding("survivor", text, attempt.run_id)

    # --- all of them -----------------------------------------------------------------------------

    def _folders(self, newest: dict[int, int]) -> Iterator[Finding]:
        """Folders that no run owns are left of a prune, or of nobody we know."""
        last_run_id = self._records.last_run_id()
        if (text := self._spool.unknown_to(last_run_id)) is not None:
            yield Finding("database_lost", text)
        for path in sorted(self._spool.root.iterdir()):
            run_id = int(path.name) if path.name.isdecimal() else None
            if path.is_symlink():
                yield Finding("link", f"{path} is a link, and no folder of ours", run_id)
            elif run_id is not None and run_id > last_run_id:
                continue  # told of above
            elif run_id not in self._run_ids:
                text = f"{path} belongs to no run; the next prune removes it"
                yield Finding("stray_folder", text, run_id, is_fault=False)
            elif run_id is not None:
                yield from _attempt_folders(path, run_id, newest.get(run_id, 0))

    def _governors(self) -> Iterator[Finding]:
        """Whoever works in an attempt's folder belongs to an attempt that is not over."""
        for (run_id, attempt), pids in sorted(self._processes.in_folders.items()):
            if (run_id, attempt) not in self._live:
                for pid in pids:
                    text = f"process {pid} works for attempt {run_id}.{attempt}, which is over"
                    yield Finding("survivor", text, run_id)
        for (run_id, attempt), pids in sorted(self._processes.told_so.items()):
            if (run_id, attempt) not in self._live:
                is_fault = (run_id, attempt) not in self._unverified
                for pid in pids:
                    text = f"process {pid} was started by attempt {run_id}.{attempt}, which is over"
                    yield Finding("survivor", text, run_id, is_fault=is_fault)


def _claims(
    claim: ClaimRecord | TombstoneRecord | None, attempt: KeptAttempt
) -> TypeGuard[ClaimRecord]:
    """Whether it is a claim, with this attempt's token."""
    return isinstance(claim, ClaimRecord) and claim.token_sha256 == attempt.token_sha256


def _is_own(record: ExitRecord | None, attempt: KeptAttempt) -> TypeGuard[ExitRecord]:
    """Whether it is an exit record, with this attempt's token."""
    return record is not None and record.token_sha256 == attempt.token_sha256


def _not_claimed(attempt: KeptAttempt) -> str:
    end = "ends" if attempt.stop_outcome is Outcome.CANCELLED else "queues"
    return (
        f"{attempt.is_in}, and nobody has claimed {attempt.name}; the next daemon gives that up "
        f"and {end} the run"
    )


def _gone(attempt: KeptAttempt) -> str:
    outcome = attempt.stop_outcome or Outcome.INTERRUPTED
    return (
        f"{attempt.is_in}, and the governor of {attempt.name} is gone; the next daemon ends what "
        f"is left of it and records it as {outcome}"
    )


def _claim_fits(
    attempt: KeptAttempt, claim: ClaimRecord | TombstoneRecord | None
) -> Iterator[Finding]:
    """What started was claimed with this attempt's token; what never did was given up."""
    if attempt.has_started and not _claims(claim, attempt):
        text = f"{attempt.name} has started, and nobody had claimed it"
        yield Finding("claim", text, attempt.run_id)
    if attempt.reason.startswith(NOT_STARTED) and not isinstance(claim, TombstoneRecord):
        text = f"{attempt.name} was given up, and has no tombstone"
        yield Finding("claim", text, attempt.run_id)


def _exit_fits(
    attempt: KeptAttempt, record: ExitRecord | None, *, has_file: bool
) -> Iterator[Finding]:
    """How an attempt ended is what its governor wrote down."""
    if not _is_own(record, attempt):
        if attempt.outcome in _PROVEN:
            text = f"{attempt.name} {attempt.outcome}, and no exit record of its own proves it"
            yield Finding("exit_record", text, attempt.run_id)
        elif has_file:
            text = f"the exit record of {attempt.name} can't be trusted"
            yield Finding("exit_record", text, attempt.run_id)
    elif attempt.is_live:
        text = f"{attempt.name} has ended; the next daemon records it"
        yield Finding("not_recorded", text, attempt.run_id, is_fault=False)
    else:
        kept = (attempt.outcome, attempt.exit_code, attempt.signal)
        if kept != (said := (record.outcome, record.exit_code, record.signal)):
            text = (
                f"{attempt.name} is recorded as {_how(*kept)}, its exit record says {_how(*said)}"
            )
            yield Finding("exit_record", text, attempt.run_id)


def _left_behind(attempt: KeptAttempt, folder: AttemptFolder) -> Iterator[Finding]:
    """Temporary files of claims: their makers were killed in the act."""
    for path in sorted(folder.path.glob(".claim.*")):
        text = f"{path} was left behind; it goes with its run"
        yield Finding("stray_file", text, attempt.run_id, is_fault=False)


def _attempt_folders(path: Path, run_id: int, newest: int) -> Iterator[Finding]:
    """At most the next attempt has a folder already: it comes before the intent."""
    for folder in sorted(path.iterdir()):
        if folder.name.isdecimal() and int(folder.name) > newest + 1:
            text = f"{folder} is of an attempt that run {run_id} never had"
            yield Finding("stray_folder", text, run_id)


def _how(outcome: Outcome | None, exit_code: int | None, signal: int | None) -> str:
    if signal is not None:
        return f"{outcome} by signal {signal}"
    return str(outcome) if exit_code is None else f"{outcome} with exit code {exit_code}"
