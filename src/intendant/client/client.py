"""The client of the daemon for programs without an event loop.

Requests share one connection; each stream (`wait`, `logs`) has one of its own, so that a program
can go on asking while it reads. A client belongs to one thread. Everything may be sent twice,
so the connection below sends again by itself when the broker was lost and came back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self, Unpack, cast

from intendant.client import wire
from intendant.client.command import (
    Command,
    RunOptions,
    Submitter,
    fresh_key,
    spec_of,
    submission,
)
from intendant.client.endpoint import is_local, require_life, resolve_endpoint
from intendant.client.events import EventCursor
from intendant.client.logs import LogCursor
from intendant.client.run import Run, Selection, Stream, texts
from intendant.client.shapes import (
    Change,
    DaemonInfo,
    EventInfo,
    Explanation,
    LogLineInfo,
    QueueInfo,
    RunDetails,
    RunInfo,
)
from intendant.client.system_log import SystemLogCursor

__all__ = ["Client", "Command", "Run"]

PAGE = 1000
"""The most runs that one answer holds."""


class Connection(Protocol):
    """What carries requests to the daemon; `broker.sync_client.SyncConnection` is one."""

    def request(self, service: bytes, body: list[bytes], *, timeout_s: float) -> list[bytes]: ...

    def stream(
        self, service: bytes, body: Callable[[], list[bytes]], *, timeout_s: float | None
    ) -> Iterator[tuple[bool, list[bytes]]]: ...

    def close(self) -> None: ...


def connect(endpoint: str) -> Connection:
    """A connection to a daemon that lives; `Unreachable` at once if none does."""
    require_life(endpoint)
    from intendant.broker.sync_client import SyncConnection

    return SyncConnection(endpoint)


class Client:
    """Everything that can be asked of the daemon."""

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        timeout_s: float = 30.0,
        connect: Callable[[str], Connection] = connect,
    ) -> None:
        self.endpoint = endpoint or resolve_endpoint(None, os.environ)
        self._timeout_s = timeout_s
        self._connect = connect
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; a later request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def submit(
        self,
        what: Command | Sequence[str] | Mapping[str, object],
        *,
        key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
        **options: Unpack[RunOptions],
    ) -> Run:
        """Queue a run; it is on disk when this returns. The same `key` again gives the same run."""
        submitter = self._submitter()
        spec = spec_of(what, **options)
        [run] = self._submit(
            [submission(spec, key=key, secret_env=secret_env, submitter=submitter)], submitter
        )
        return run

    def submit_all(
        self, specs: Sequence[Mapping[str, object]], *, key: str | None = None
    ) -> list[Run]:
        """Queue several runs, all or none; `after` names runs among them."""
        submitter = self._submitter()
        keys = [f"{key}/{at}" if key else None for at in range(1, len(specs) + 1)]
        return self._submit(
            [
                submission(spec, key=one, submitter=submitter)
                for spec, one in zip(specs, keys, strict=True)
            ],
            submitter,
        )

    def run(self, run_id: int) -> Run:
        """The run with this id; `RunNotFound` if there is none."""
        return Run(self, run_id, self.show(run_id)["run"])

    def show(self, selection: Selection) -> RunDetails:
        """One run, its attempts and its folder."""
        answer = self._ask("run_show", selection=texts(selection))
        return cast(RunDetails, answer)

    def explain(self, selection: Selection) -> Explanation:
        """Why one run waits, or what it does."""
        answer = self._ask("run_explain", selection=texts(selection))
        return cast(Explanation, wire.content(answer, until=None, waits_for=[]))

    def runs(
        self,
        *,
        states: Sequence[str] = (),
        outcomes: Sequence[str] = (),
        queue: str | None = None,
        selection: Selection = (),
        limit: int | None = 100,
    ) -> list[RunInfo]:
        """Runs, newest first; `limit` None gives all of them, page by page."""
        wanted = {
            "states": list(states),
            "outcomes": list(outcomes),
            "queue": queue,
            "selection": texts(selection),
        }
        found: list[RunInfo] = []
        before_id: int | None = None
        while limit is None or len(found) < limit:
            size = PAGE if limit is None else min(limit - len(found), PAGE)
            answer = self._ask("run_list", limit=size, before_id=before_id, **wanted)
            page = cast(list[RunInfo], answer["runs"])
            found += page
            if not (page and answer["has_more"]):
                break
            before_id = page[-1]["id"]
        return found

    def watch(
        self,
        selection: Selection,
        *,
        any: bool = False,
        changes: bool = False,
        timeout_s: float | None = None,
    ) -> Iterator[RunInfo]:
        """Each run as it is now and as it changes, until all (or any) have ended."""
        body = wire.request(
            "run_wait_request", selection=texts(selection), any=any, changes=changes
        )
        for is_final, answer in self._stream(lambda: body, timeout_s):
            if is_final:
                wire.response(answer, "run_wait_response")
                return
            message = wire.response(answer, "run_changed", "stream_tick")
            if message["kind"] == "run_changed":
                yield cast(RunInfo, message["run"])

    def wait(
        self, selection: Selection, *, any: bool = False, timeout_s: float | None = None
    ) -> list[RunInfo]:
        """The runs once all (or any) have ended, by id; `TimeoutError` if that takes longer."""
        latest = {info["id"]: info for info in self.watch(selection, any=any, timeout_s=timeout_s)}
        return [latest[run_id] for run_id in sorted(latest)]

    def logs(
        self,
        selection: Selection,
        *,
        follow: bool = False,
        stream: Stream = "stdout",
        attempt: int | None = None,
    ) -> Iterator[bytes]:
        """The bytes of a run's output; `follow` until it has ended, without loss or repetition."""
        cursor = LogCursor(texts(selection), stream=stream, attempt=attempt, follow=follow)
        for is_final, answer in self._stream(cursor.request, None):
            if is_final:
                wire.response(answer, "log_response")
                return
            if data := cursor.take(answer):
                yield data

    def events(
        self, selection: Selection = (), *, after_id: int = 0, follow: bool = False
    ) -> Iterator[EventInfo]:
        """What happened, oldest first; `follow` for ever, without loss or repetition."""
        cursor = EventCursor(texts(selection), after_id=after_id, follow=follow)
        for is_final, answer in self._stream(cursor.request, None):
            if is_final:
                wire.response(answer, "event_list_response")
                return
            yield from cursor.take(answer)

    def system_log(
        self, selection: Selection = (), *, level: str = "debug", follow: bool = False
    ) -> Iterator[LogLineInfo]:
        """What daemon and governors have logged, by time; `follow` for ever."""
        cursor = SystemLogCursor(texts(selection), level=level, follow=follow)
        for is_final, answer in self._stream(cursor.request, None):
            if is_final:
                wire.response(answer, "system_log_response")
                return
            yield from cursor.take(answer)

    def cancel(
        self, selection: Selection, *, reason: str | None = None, now: bool = False
    ) -> Change:
        """End runs, wherever they are; what has ended stays as it is."""
        answer = self._ask("run_cancel", selection=texts(selection), reason=reason, now=now)
        return cast(Change, answer)

    def hold(self, selection: Selection) -> Change:
        """Keep queued runs from starting."""
        return self._change("run_hold_request", selection=texts(selection))

    def release(self, selection: Selection) -> Change:
        """Let held runs start."""
        return self._change("run_release_request", selection=texts(selection))

    def set_priority(self, selection: Selection, priority: int) -> Change:
        """Move one run in its queue: higher starts first."""
        return self._change("run_priority_request", selection=texts(selection), priority=priority)

    def retry(self, selection: Selection, *, key: str | None = None) -> list[Run]:
        """Queue ended runs anew: new runs with the same specs, in the order of the old ones."""
        answer = self._ask("run_retry", selection=texts(selection), retry_key=key or fresh_key())
        return [Run(self, run_id) for run_id in cast(list[int], answer["run_ids"])]

    def prune(self, *, older_s: float, selection: Selection = ()) -> Iterator[list[int]]:
        """Forget runs that ended so long ago; the ids that are gone, a page at a time."""
        after_id: int | None = 0
        while after_id is not None:
            answer = self._ask(
                "run_prune", older_s=older_s, selection=texts(selection) or None, after_id=after_id
            )
            page = wire.content(answer, next_after_id=None)
            yield cast(list[int], page["run_ids"])
            after_id = cast(int | None, page["next_after_id"])

    def status(self) -> DaemonInfo:
        """What the daemon is doing."""
        return cast(DaemonInfo, self._ask("status")["daemon"])

    def queues(self) -> list[QueueInfo]:
        """Every queue, by name."""
        return cast(list[QueueInfo], self._ask("queue_list")["queues"])

    def queue_set(self, name: str, *, slots: int) -> QueueInfo:
        """Make a queue, or change its slots."""
        return self._queue("queue_set_request", name=name, slots=slots)

    def queue_pause(self, name: str) -> QueueInfo:
        """Start nothing from this queue until it is resumed."""
        return self._queue("queue_pause_request", name=name)

    def queue_resume(self, name: str) -> QueueInfo:
        """Start runs from this queue again."""
        return self._queue("queue_resume_request", name=name)

    def shutdown(self, policy: str = "stop") -> str:
        """End the daemon: `stop`, `drain`, `leave` or `now`; the state it is in then."""
        return str(self._ask("shutdown", policy=policy)["state"])

    def _submitter(self) -> Submitter | None:
        return Submitter.this_process() if is_local(self.endpoint) else None

    def _submit(
        self, submissions: list[dict[str, object]], submitter: Submitter | None
    ) -> list[Run]:
        environment = submitter.encoded_environment() if submitter else None
        answer = self._ask("run_submit", runs=submissions, environment=environment)
        return [Run(self, run_id) for run_id in cast(list[int], answer["run_ids"])]

    def _queue(self, kind: str, **fields: object) -> QueueInfo:
        return cast(QueueInfo, self._request(kind, "queue_response", **fields)["queue"])

    def _change(self, kind: str, **fields: object) -> Change:
        return cast(Change, self._request(kind, "run_change_response", **fields))

    def _ask(self, verb: str, **fields: object) -> dict[str, object]:
        return self._request(f"{verb}_request", f"{verb}_response", **fields)

    def _request(self, kind: str, expected: str, **fields: object) -> dict[str, object]:
        body = wire.request(kind, **fields)
        if self._connection is None:
            self._connection = self._connect(self.endpoint)
        answer = self._connection.request(wire.EXECUTOR, body, timeout_s=self._timeout_s)
        return wire.response(answer, expected)

    def _stream(
        self, body: Callable[[], list[bytes]], timeout_s: float | None
    ) -> Iterator[tuple[bool, list[bytes]]]:
        with closing(self._connect(self.endpoint)) as connection:
            yield from connection.stream(wire.STREAM, body, timeout_s=timeout_s)
