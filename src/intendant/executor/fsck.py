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

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from intendant.errors import FolderLocked, StoreError
from intendant.process.cgroup import Cgroup
from intendant.process.identity import boot_id, process_stat
from intendant.protocol.folders import DATABASE
from intendant.protocol.records import ClaimRecord, ExitRecord, TombstoneRecord
from intendant.protocol.run_states import Outcome
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


@dataclass(frozen=True, slots=True)
class Processes:
    """Every live process that may belong to an attempt, seen in one pass over /proc."""

    sessions: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By the session's number, its members."""
    in_folders: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By run and attempt, those that work in the attempt's folder: its governor does."""
    told_so: dict[tuple[int, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By run and attempt, those whose environment says that they belong to it."""

    def left_in(self, session: int) -> list[int]:
        """Who is still in the session of a leader that is dead.

        A leader that was seen alive has died since, or was another's: the kernel gives a number out
        again only when its session has no members (credentials(7)).
        """
        members = self.sessions.get(session, [])
        return [] if session in members else [pid for pid in members if is_in(session, pid)]


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
        if isinstance(claim, DamagedClaim):
            text = f"the claim of {attempt.name} can't be read: {claim.error}"
            yield Finding("spool", text, attempt.run_id)
            claim = None
        yield from _claim_fits(attempt, claim)
        yield from _exit_fits(attempt, record, has_file=folder.exit_path.exists())
        yield from _left_behind(attempt, folder)
        if isinstance(claim, ClaimRecord) and claim.boot_id == self._boot_id:
            yield from self._processes_fit(attempt, claim)

    def _processes_fit(self, attempt: KeptAttempt, claim: ClaimRecord) -> Iterator[Finding]:
        """Nothing of an attempt lives once it is over."""
        if attempt.is_live:
            return
        leader = process_stat(claim.pid)
        if leader is not None and leader.start_time == claim.start_time and leader.state != "Z":
            text = f"{attempt.name} is over, its governor lives: pid {claim.pid}"
            yield Finding("survivor", text, attempt.run_id)
        elif leader is None and (members := self._processes.left_in(claim.pid)):
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


def is_in(session: int, pid: int) -> bool:
    """Whether this process lives, in this session."""
    stat = process_stat(pid)
    return stat is not None and stat.session == session and stat.state != "Z"


def find_processes(spool: Path) -> Processes:
    """The live processes, by session and by the attempt in whose folder they work."""
    found = Processes()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or (stat := process_stat(pid := int(entry.name))) is None:
            continue
        if stat.state == "Z" or pid == os.getpid():
            continue
        found.sessions[stat.session].append(pid)
        with suppress(OSError, ValueError):  # gone, another user's, or somewhere else
            inside = (entry / "cwd").readlink().relative_to(spool.resolve()).parts
            found.in_folders[int(inside[0]), int(inside[1])].append(pid)
        if (attempt := _attempt_in_environment(entry / "environ", spool.parent)) is not None:
            found.told_so[attempt].append(pid)
    return found


def _attempt_in_environment(environ: Path, state_dir: Path) -> tuple[int, int] | None:
    """The attempt whose workload, or what that started, has this environment."""
    try:
        pairs = (pair.partition(b"=") for pair in environ.read_bytes().split(b"\0"))
        variables = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
        if not Path(variables["INTENDANT_STATE_DIR"]).samefile(state_dir):
            return None
        return int(variables["INTENDANT_RUN_ID"]), int(variables["INTENDANT_ATTEMPT"])
    except (OSError, KeyError, ValueError):  # gone, another user's, or none of ours
        return None


def _claim_fits(
    attempt: KeptAttempt, claim: ClaimRecord | TombstoneRecord | None
) -> Iterator[Finding]:
    """What started was claimed with this attempt's token; what never did was given up."""
    is_claimed = isinstance(claim, ClaimRecord) and claim.token_sha256 == attempt.token_sha256
    if attempt.has_started and not is_claimed:
        text = f"{attempt.name} has started, and nobody had claimed it"
        yield Finding("claim", text, attempt.run_id)
    if attempt.reason.startswith(NOT_STARTED) and not isinstance(claim, TombstoneRecord):
        text = f"{attempt.name} was given up, and has no tombstone"
        yield Finding("claim", text, attempt.run_id)


def _exit_fits(
    attempt: KeptAttempt, record: ExitRecord | None, *, has_file: bool
) -> Iterator[Finding]:
    """How an attempt ended is what its governor wrote down."""
    if record is None or record.token_sha256 != attempt.token_sha256:
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
