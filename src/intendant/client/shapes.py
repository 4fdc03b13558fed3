"""What the daemon answers, as plain dictionaries: runs, queues, the daemon itself."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class RunInfo(TypedDict):
    """One run; times are RFC 3339 text in UTC."""

    id: int
    name: str | None
    kind: str
    state: str
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    attempt: int
    queue: str
    priority: int
    account: str
    submitted_at: str
    started_at: str | None
    finished_at: str | None
    spec: dict[str, object]


class AttemptInfo(TypedDict):
    """One launch of a run."""

    run_id: int
    attempt: int
    outcome: str | None
    reason: str | None
    exit_code: int | None
    signal: int | None
    granted_at: str
    started_at: str | None
    finished_at: str | None


class RunDetails(TypedDict):
    """One run, its attempts oldest first, and its folder on the daemon's machine."""

    run: RunInfo
    attempts: list[AttemptInfo]
    folder: str


class StepInfo(TypedDict, total=False):
    """One step of a pipeline; what is not known yet is left out. `folder` is below the run's."""

    name: str
    state: str
    outcome: str
    reason: str
    attempt: int
    fingerprint: str
    started_at: str
    finished_at: str
    exit_code: int
    signal: int
    folder: str
    run_id: int
    report: dict[str, object]


class Continuing(TypedDict, total=False):
    """How pipelines that have ended go on: what is done stays done, but for what is named here."""

    rerun: list[str]
    """Steps that run again, with all that come after them."""
    parameters: dict[str, object]
    """Of the pipeline, instead of those that it had."""
    step_parameters: dict[str, dict[str, object]]
    """The same of steps."""


class TrialInfo(TypedDict, total=False):
    """One trial of a study; what is not known yet is left out. `checkpoint` is below the run's."""

    number: int
    state: str
    outcome: str
    reason: str
    params: dict[str, object]
    value: float
    step: int
    results: int
    failures: int
    starts: int
    running_s: float
    added_at: str
    started_at: str
    finished_at: str
    checkpoint: str
    further: dict[str, float]


class TrialPage(TypedDict):
    """Trials of a study, how many there are of each outcome or state, and in all."""

    run_id: int
    folder: str
    metric: str
    mode: str
    further_metrics: NotRequired[dict[str, str]]
    trials: list[TrialInfo]
    counts: dict[str, int]
    total: int


class EventInfo(TypedDict):
    """One line of the event log."""

    id: int
    run_id: int
    seq: int
    at: str
    attempt: int
    event: str
    before: str | None
    after: str
    detail: dict[str, object]


class LogLineInfo(TypedDict):
    """One line that a process of the daemon's has logged."""

    at: str
    level: str
    source: str
    text: str


class Explanation(TypedDict):
    """Why a run waits or what it does: a code for programs, a sentence for people."""

    run_id: int
    state: str
    code: str
    text: str
    since: str
    until: str | None
    waits_for: list[int]


class Change(TypedDict):
    """Where the runs are now, and which of them the request had an effect on."""

    runs: list[RunInfo]
    changed: list[int]


class QueueInfo(TypedDict):
    """One queue; `slots` is None where it has as many as the daemon."""

    name: str
    slots: int | None
    paused: bool
    queued: int
    live: int


class HelperInfo(TypedDict):
    """A helper process of the daemon."""

    pid: int | None
    restarts: int


class DaemonInfo(TypedDict):
    """What the daemon is doing."""

    version: str
    pid: int
    state: str
    cause: str | None
    started_at: str
    slots: int
    live: int
    parents: NotRequired[int]
    trouble: NotRequired[str]
    runs: dict[str, int]
    queues: list[QueueInfo]
    broker: HelperInfo
    zygote: HelperInfo
    launcher: str
    tree_method: str
    endpoints: list[str]
    state_dir: str
    runtime_dir: str
