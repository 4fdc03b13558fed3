"""What is known of runs, attempts, queues and the daemon, as it is shown, kept and written down."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from intendant.protocol.executor_states import Cause, ExecutorState
from intendant.protocol.fields import Model
from intendant.protocol.run_states import Outcome, RunState
from intendant.protocol.specs import RunSpec
from intendant.protocol.version import PROTOCOL_VERSION


class _Run(Model):
    """What a run's row says beside its spec."""

    id: int
    name: str | None
    kind: str
    state: RunState
    outcome: Outcome | None
    reason: str | None = Field(description="`code` or `code: detail`")
    exit_code: int | None
    signal: int | None = Field(description="number of the signal that ended the workload")
    attempt: int = Field(description="number of the newest attempt; 0 before the first")
    queue: str
    priority: int
    account: str
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunRecord(_Run):
    """One run, as `show --json` prints it. Times are UTC."""

    spec: RunSpec


class UnreadableWorkload(Model):
    """Stands for a workload of which this version can't say what it is."""

    kind: Literal["unreadable"]
    problem: str = Field(description="where the spec is wrong")


class UnreadableSpec(Model):
    """Stands for a spec that this version can't read."""

    workload: UnreadableWorkload


class UnreadableRun(_Run):
    """A run in a list whose stored spec can't be read: all the rest of it."""

    spec: UnreadableSpec


class AttemptRecord(Model):
    """One launch of a run."""

    run_id: int
    attempt: int
    outcome: Outcome | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    granted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EventRecord(Model):
    """One line of the event log."""

    id: int = Field(description="grows over all runs, gapless")
    run_id: int
    seq: int = Field(description="grows within the run from 1, gapless")
    at: datetime
    attempt: int
    event: str
    before: RunState | None
    after: RunState
    detail: dict[str, JsonValue] = Field(default_factory=dict)


LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class LogLine(Model):
    """One line that a process of ours has logged."""

    at: datetime
    level: LogLevel
    source: str = Field(description="`executor`, `broker`, or `governor 17.1`")
    text: str = Field(description="the line as it was written: JSON, or what a process said dying")


class QueueRecord(Model):
    """One named queue."""

    name: str
    slots: int | None = Field(description="null: as many as the daemon has")
    paused: bool
    queued: int
    live: int


class StepRecord(Model):
    """Something the governor did to the workload, and when."""

    event: str
    at: datetime


class ExitRecord(Model):
    """`exit.json`: how an attempt ended, written by its governor before anybody is told."""

    protocol_version: int = PROTOCOL_VERSION
    run_id: int
    attempt: int
    token_sha256: str
    outcome: Outcome
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    started_at: datetime | None = None
    finished_at: datetime
    steps: list[StepRecord] = Field(default_factory=list)


RESTORED = "restored"
"""Stands for the boot of a claim that comes out of a backup: no boot has this id."""


class ClaimRecord(Model):
    """`claim`, as a governor links it: this process may start the attempt, nobody else."""

    kind: Literal["claim"] = "claim"
    protocol_version: int = PROTOCOL_VERSION
    pid: int
    start_time: int = Field(description="clock ticks after boot, field 22 of /proc/PID/stat")
    boot_id: str
    token_sha256: str
    cgroup: str | None = None


class TombstoneRecord(Model):
    """`claim`, as whoever gives the attempt up links it: nobody may start it any more."""

    kind: Literal["tombstone"] = "tombstone"
    protocol_version: int = PROTOCOL_VERSION
    by: str
    at: datetime


class HelperRecord(Model):
    """A helper process of the daemon."""

    pid: int | None
    restarts: int


class DaemonRecord(Model):
    """The daemon, as `status --json` prints it."""

    version: str
    protocol_version: int = PROTOCOL_VERSION
    pid: int
    state: ExecutorState
    cause: Cause | None
    started_at: datetime
    slots: int
    live: int
    parents: int = Field(
        default=0, description="live runs that hold no slot: they only wait for runs of their own"
    )
    trouble: str | None = Field(
        default=None, description="what the daemon can't do for the moment, and tries again"
    )
    runs: dict[RunState, int]
    queues: list[QueueRecord]
    broker: HelperRecord
    zygote: HelperRecord = Field(description="what helps to launch, whichever launcher it is")
    launcher: str
    tree_method: str
    endpoints: list[str]
    state_dir: str
    runtime_dir: str
