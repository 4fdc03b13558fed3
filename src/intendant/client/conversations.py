"""What is said to the daemon and how its answers are read, whoever carries the messages.

A conversation is a generator: it yields the body of a request, is sent the body of the answer, and
returns what was wanted. A reading is a stream that knows its place. Both clients carry the same
conversations and readings and nothing else: what can be asked, and how, is said here.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from intendant.client import wire
from intendant.client.place import Place
from intendant.client.run import Selection, Stream, texts
from intendant.errors import ProtocolError

if TYPE_CHECKING:
    from intendant.client.command import Submitter
    from intendant.client.pipeline_results import PipelineResults
    from intendant.client.result import RunResult
    from intendant.client.shapes import (
        Change,
        Continuing,
        DaemonInfo,
        EventInfo,
        Explanation,
        LogLineInfo,
        QueueInfo,
        RunDetails,
        RunInfo,
        StepInfo,
        TrialInfo,
        TrialPage,
    )

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Conversation: TypeAlias = Generator[list[bytes], list[bytes], T]

PAGE = 1000
"""The most runs that one answer holds."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How long the end of a stream is waited for, and which runs that is the end of."""

    timeout_s: float
    awaited: str

    def passed(self) -> TimeoutError:
        """What is raised then."""
        return TimeoutError(f"not ended within {self.timeout_s:g} s: {self.awaited}")


class Reading(Protocol[T_co]):
    """A stream: what to ask for (again, from its place) and what is new in an answer."""

    @property
    def final(self) -> str: ...

    @property
    def limit(self) -> Limit | None: ...

    @property
    def keeps_place(self) -> bool:
        """Whether what was read is not asked for again: cut off, it can simply go on."""
        ...

    def request(self) -> list[bytes]: ...

    def take(self, body: Sequence[bytes]) -> Sequence[T_co]: ...


class WaitReading(Place):
    """Each run as it is now and as it changes, until all (or any) have ended."""

    final = "run_wait_response"
    keeps_place = False

    def __init__(
        self, selection: Selection, *, any: bool, changes: bool, timeout_s: float | None = None
    ) -> None:
        super().__init__(texts(selection))
        self.limit = _limit(selection, timeout_s)
        self._any = any
        self._changes = changes

    def request(self) -> list[bytes]:
        """Always the same: the answer begins with how things are."""
        return wire.request(
            "run_wait_request", selection=self.selection, any=self._any, changes=self._changes
        )

    def take(self, body: Sequence[bytes]) -> list[RunInfo]:
        """The runs in a PARTIAL: none in a tick."""
        message = self._part(body, "runs_changed")
        return cast("list[RunInfo]", message.get("runs", []))


class StepReading(Place):
    """Each step of a pipeline as it is now and as it changes, until the run has ended."""

    final = "step_watch_response"
    keeps_place = False

    def __init__(self, selection: Selection, timeout_s: float | None) -> None:
        super().__init__(texts(selection))
        self.limit = _limit(selection, timeout_s)

    def request(self) -> list[bytes]:
        """Always the same: the answer begins with how things are."""
        return wire.request("step_watch_request", selection=self.selection)

    def take(self, body: Sequence[bytes]) -> list[StepInfo]:
        """The steps in a PARTIAL: none in a tick."""
        message = self._part(body, "steps_changed")
        return cast("list[StepInfo]", message.get("steps", []))


def submit(
    submissions: list[dict[str, object]], submitter: Submitter | None
) -> Conversation[list[int]]:
    """Queue runs, all or none; their ids, in order."""
    environment = submitter.encoded_environment() if submitter else None
    answer = yield from _ask("run_submit", runs=submissions, environment=environment)
    return cast(list[int], answer["run_ids"])


def show(selection: Selection) -> Conversation[RunDetails]:
    """One run, its attempts and its folder."""
    return cast("RunDetails", (yield from _ask("run_show", selection=texts(selection))))


def steps(selection: Selection) -> Conversation[list[StepInfo]]:
    """The steps of a pipeline, page by page."""
    found: list[StepInfo] = []
    while True:
        answer = yield from _ask("run_steps", selection=texts(selection), offset=len(found) or None)
        page = cast("list[StepInfo]", answer["steps"])
        found += page
        if not page or len(found) >= cast(int, answer["total"]):
            return found


def trials(
    selection: Selection, *, best_first: bool = False, limit: int | None = None
) -> Conversation[TrialPage]:
    """The trials of a study, page by page: by number, or the best first."""
    found: list[TrialInfo] = []
    while True:
        answer = yield from _ask(
            "trial_list",
            selection=texts(selection),
            offset=len(found) or None,
            limit=None if limit is None else min(limit - len(found), 200),
            best_first=best_first or None,
        )
        page = cast("list[TrialInfo]", answer["trials"])
        found += page
        wanted = cast(int, answer["total"]) if limit is None else limit
        if not page or len(found) >= min(wanted, cast(int, answer["total"])):
            return cast("TrialPage", wire.content({**answer, "trials": found}))


def trial_add(selection: Selection, params: Mapping[str, object]) -> Conversation[None]:
    """One more trial for a study."""
    yield from _request(
        "trial_add_request",
        "trial_order_response",
        selection=texts(selection),
        params=dict(params),
        key=wire.fresh_key(),
    )


def trial_stop(selection: Selection, numbers: Sequence[int] = ()) -> Conversation[None]:
    """End some trials of a study; without numbers the study, which keeps what it has."""
    yield from _request(
        "trial_stop_request",
        "trial_order_response",
        selection=texts(selection),
        numbers=list(numbers),
        key=wire.fresh_key(),
    )


def explain(selection: Selection) -> Conversation[Explanation]:
    """Why one run waits, or what it does."""
    answer = yield from _ask("run_explain", selection=texts(selection))
    return cast("Explanation", wire.content(answer, until=None, waits_for=[]))


def runs(
    *,
    states: Sequence[str] = (),
    outcomes: Sequence[str] = (),
    queue: str | None = None,
    selection: Selection = (),
    limit: int | None = 100,
    before_id: int | None = None,
) -> Conversation[list[RunInfo]]:
    """Runs, newest first; `limit` None gives all of them, page by page.

    `before_id`: only those older than the run with this id, be it the last of an earlier page.
    """
    wanted = {
        "states": list(states),
        "outcomes": list(outcomes),
        "queue": queue,
        "selection": texts(selection),
    }
    found: list[RunInfo] = []
    while limit is None or len(found) < limit:
        size = PAGE if limit is None else min(limit - len(found), PAGE)
        answer = yield from _ask("run_list", limit=size, before_id=before_id, **wanted)
        page = cast("list[RunInfo]", answer["runs"])
        found += page
        if not (page and answer["has_more"]):
            break
        before_id = page[-1]["id"]
    return found


def result(run_id: int) -> Conversation[RunResult]:
    """How a run ended, which it must have, and the bytes of what it returned."""
    from intendant.client.result import RunResult

    data = bytearray()
    while True:
        offset = len(data) or None
        body = yield wire.request("run_result_request", selection=[str(run_id)], offset=offset)
        answer = wire.response(body, "run_result_response")
        said = wire.content(answer, reason=None, exit_code=None, encoding=None, size=0)
        piece = body[1] if len(body) == 2 else b""
        data += piece
        size = cast(int, said["size"])
        if len(data) >= size:
            break
        if not piece:
            raise ProtocolError(f"the result of run {run_id} ends at {len(data)} of {size} bytes")
    return RunResult(
        run_id,
        outcome=str(said["outcome"]),
        reason=cast(str | None, said["reason"]),
        exit_code=cast(int | None, said["exit_code"]),
        encoding=cast(str | None, said["encoding"]),
        data=bytes(data),
    )


def worth(info: RunInfo, *, is_own: bool, is_here: bool) -> Conversation[object]:
    """What a run that has ended returned, or its exit code; raises what made it fail.

    `is_own`: this program submitted it, so that pickles are its own; `is_here`: to a daemon on its
    machine, so that a pipeline's folder is at hand.
    """
    from intendant.client.result import WITH_RESULT, result_of

    if info["kind"] == "pipeline" and is_own and is_here:
        return (yield from _pipeline_results(info))
    found = (yield from result(info["id"])) if info["kind"] in WITH_RESULT else result_of(info)
    return found.value(may_unpickle=is_own)


def _pipeline_results(info: RunInfo) -> Conversation[PipelineResults]:
    from intendant.client.pipeline_results import results_in

    folder = Path((yield from show(info["id"]))["folder"])
    return results_in(folder, info, (yield from steps(info["id"])))


def cancel(
    selection: Selection,
    *,
    reason: str | None = None,
    now: bool = False,
    grace_s: float | None = None,
    only_waiting: bool = False,
) -> Conversation[Change]:
    """End runs, wherever they are (or `only_waiting` ones); what has ended stays as it is.

    `grace_s` stands for the graces that the runs were submitted with.
    """
    answer = yield from _ask(
        "run_cancel",
        selection=texts(selection),
        reason=reason,
        now=now,
        grace_s=grace_s,
        only_waiting=only_waiting or None,
    )
    return (yield from _whole(answer))


def hold(selection: Selection) -> Conversation[Change]:
    """Keep queued runs from starting."""
    return _change("run_hold_request", selection=texts(selection))


def release(selection: Selection) -> Conversation[Change]:
    """Let held runs start."""
    return _change("run_release_request", selection=texts(selection))


def set_priority(selection: Selection, priority: int) -> Conversation[Change]:
    """Move one run in its queue: higher starts first."""
    return _change("run_priority_request", selection=texts(selection), priority=priority)


def retry(
    selection: Selection, *, key: str | None = None, continuing: Continuing | None = None
) -> Conversation[list[int]]:
    """Queue ended runs anew; the new ids."""
    answer = yield from _ask(
        "run_retry",
        selection=texts(selection),
        retry_key=key or wire.fresh_key(),
        continuing=continuing,
    )
    return cast(list[int], answer["run_ids"])


def prune_page(
    *, older_s: float, selection: Selection, after_id: int
) -> Conversation[tuple[list[int], int | None]]:
    """Forget some runs that ended so long ago: their ids, and where the next page begins."""
    answer = yield from _ask(
        "run_prune", older_s=older_s, selection=texts(selection) or None, after_id=after_id
    )
    page = wire.content(answer, next_after_id=None)
    return cast(list[int], page["run_ids"]), cast(int | None, page["next_after_id"])


def last_event_id() -> Conversation[int]:
    """Where the events that are still to come begin; asked of the stream service."""
    answer = yield from _ask("event_list", from_now=True)
    return cast(int, answer["last_id"])


def status() -> Conversation[DaemonInfo]:
    """What the daemon is doing."""
    return cast("DaemonInfo", (yield from _ask("status"))["daemon"])


def queues() -> Conversation[list[QueueInfo]]:
    """Every queue, by name."""
    return cast("list[QueueInfo]", (yield from _ask("queue_list"))["queues"])


def queue_set(name: str, *, slots: int | None) -> Conversation[QueueInfo]:
    """Make a queue, or change its slots; `None`: as many as the daemon has."""
    return _queue("queue_set_request", name=name, slots=slots)


def queue_pause(name: str) -> Conversation[QueueInfo]:
    """Start nothing from this queue until it is resumed."""
    return _queue("queue_pause_request", name=name)


def queue_resume(name: str) -> Conversation[QueueInfo]:
    """Start runs from this queue again."""
    return _queue("queue_resume_request", name=name)


def queue_remove(name: str) -> Conversation[QueueInfo]:
    """Remove a queue that has no runs; the queue as it was."""
    return _queue("queue_remove_request", name=name)


def shutdown(policy: str = "stop") -> Conversation[str]:
    """End the daemon: `stop`, `drain`, `leave` or `now`; the state it is in then."""
    return str((yield from _ask("shutdown", policy=policy))["state"])


# --- streams -------------------------------------------------------------------------------------


def logs(
    selection: Selection,
    *,
    follow: bool = False,
    stream: Stream = "stdout",
    attempt: int | None = None,
    step: str | None = None,
) -> Reading[bytes]:
    """The bytes of a run's output; `follow` until it has ended, without loss or repetition.

    `step`: what this step of a pipeline has written, `attempt` being the step's then.
    """
    from intendant.client.logs import LogCursor

    return LogCursor(texts(selection), stream=stream, attempt=attempt, follow=follow, step=step)


def watch(
    selection: Selection,
    *,
    any: bool = False,
    changes: bool = False,
    timeout_s: float | None = None,
) -> Reading[RunInfo]:
    """Each run once it has ended (with `changes`: as it is now and as it changes).

    Until all (or any) have ended; `TimeoutError` if that takes longer.
    """
    return WaitReading(selection, any=any, changes=changes, timeout_s=timeout_s)


def watch_steps(selection: Selection, *, timeout_s: float | None = None) -> Reading[StepInfo]:
    """Each step of a pipeline as it is now and as it changes, until the run has ended.

    `TimeoutError` if that takes longer.
    """
    return StepReading(selection, timeout_s)


def events(
    selection: Selection = (), *, after_id: int = 0, follow: bool = False
) -> Reading[EventInfo]:
    """What happened, oldest first; `follow` for ever, without loss or repetition.

    Only what came after the event `after_id`: `last_event_id()` leaves what is yet to come.
    """
    from intendant.client.events import EventCursor

    return EventCursor(texts(selection), after_id=after_id, follow=follow)


def system_log(
    selection: Selection = (), *, level: str = "debug", follow: bool = False
) -> Reading[LogLineInfo]:
    """What daemon and governors have logged, by time; `follow` for ever."""
    from intendant.client.system_log import SystemLogCursor

    return SystemLogCursor(texts(selection), level=level, follow=follow)


# --- common forms --------------------------------------------------------------------------------


def _limit(selection: Selection, timeout_s: float | None) -> Limit | None:
    if timeout_s is None:
        return None
    asked = " ".join(texts(selection))
    return Limit(timeout_s, f"{'run' if asked.isdecimal() else 'runs'} {asked}")


def _queue(kind: str, **fields: object) -> Conversation[QueueInfo]:
    answer = yield from _request(kind, "queue_response", **fields)
    return cast("QueueInfo", answer["queue"])


def _change(kind: str, **fields: object) -> Conversation[Change]:
    return (yield from _whole((yield from _request(kind, "run_change_response", **fields))))


def _whole(answer: dict[str, object]) -> Conversation[Change]:
    """What a request changed, with the runs that its answer had no room for."""
    shown = cast("list[RunInfo]", answer["runs"])
    if more := cast("list[int]", answer.get("more", [])):
        shown += (yield from runs(selection=more, limit=None))[::-1]
    return {"runs": shown, "changed": cast("list[int]", answer["changed"])}


def _ask(verb: str, **fields: object) -> Conversation[dict[str, object]]:
    return _request(f"{verb}_request", f"{verb}_response", **fields)


def _request(kind: str, expected: str, **fields: object) -> Conversation[dict[str, object]]:
    body = yield wire.request(kind, **fields)
    return wire.response(body, expected)
