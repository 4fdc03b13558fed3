"""The start/finish protocol, small enough to try everything that can happen in it.

One run, one executor, one governor for each attempt. A `State` holds what is on disk (the run's
row, claim or tombstone and exit record of each attempt), what is in processes, what is on its way,
and what really happened to the workloads. `Protocol.steps` gives every next step of every party,
the faults among them: the executor dies, a governor dies, the machine reboots. Messages are hints:
once sent they may arrive at any later time, again and again, or never.

`explore` tries all of it, breadth first, and checks after each step what must always be so. The
variants of the protocol in `tests/faults/test_model.py` each leave one of its rules out; what then
goes wrong is why the rule is there.

Between two steps everything else may happen, so a step is one thing that is done at once: one
commit, one link(2), one fork, one look. Time does not exist: a deadline may pass at any moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Where(StrEnum):
    """The row's state. (`held` adds nothing here, `stopping` is the mark `is_cancelled`.)"""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"


class Mark(StrEnum):
    """What stands at the claim's name."""

    CLAIM = "claim"
    TOMBSTONE = "tombstone"


class End(StrEnum):
    """How an attempt, or the run, ended."""

    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    BURNT = "burnt"


class Stage(StrEnum):
    """What the executor knows of the run's attempt, and so what it does next."""

    IDLE = "idle"
    GRANTED = "granted"  # the intent is on disk
    WATCHING = "watching"  # there is, or was, a governor
    INHERITED = "inherited"  # from an executor before this one; the spool has not been read
    UNRECORDED = "unrecorded"  # the same, and there was no exit record
    LOST = "lost"  # claimed, the governor dead
    CLEARED = "cleared"  # nothing is left of the tree
    BURNT = "burnt"  # a tombstone stands
    TOLD = "told"  # the end is known


class Phase(StrEnum):
    """How far a governor is."""

    WAITING = "waiting"  # for the start request
    CLAIMED = "claimed"
    WORKING = "working"
    EMPTIED = "emptied"  # the workload has ended, and all of its tree
    WRITTEN = "written"  # the exit record is on disk


class Row(NamedTuple):
    """The run in the store."""

    where: Where = Where.QUEUED
    attempt: int = 0
    is_cancelled: bool = False
    outcome: End | None = None
    ends: tuple[End | None, ...] = ()
    """Of each attempt, once it is recorded."""


class Folder(NamedTuple):
    """An attempt's folder in the spool."""

    mark: Mark | None = None
    exit: End | None = None


class Executor(NamedTuple):
    """What the executor remembers; it dies with it."""

    stage: Stage = Stage.IDLE
    attempt: int = 0
    end: End | None = None


class Governor(NamedTuple):
    """A governor that lives."""

    attempt: int
    phase: Phase = Phase.WAITING
    end: End | None = None


class Message(NamedTuple):
    """Something on the bus: `start` and `stop` to a governor, `started` and `finished` from it."""

    kind: str
    attempt: int
    end: End | None = None


class State(NamedTuple):
    """Everything, at one moment."""

    # On disk:
    row: Row | None = None
    spool: tuple[Folder, ...] = ()
    # In processes:
    is_acknowledged: bool = False
    executor: Executor | None = Executor()
    governors: tuple[Governor, ...] = ()
    # On its way:
    messages: frozenset[Message] = frozenset()
    # What really is and was:
    workloads: tuple[int, ...] = ()
    """The attempts whose workload runs, one entry for each."""
    starts: tuple[int, ...] = ()
    """How often the workload of each attempt was started."""
    # What may still go wrong:
    faults: int = 0
    cancels: int = 0

    # --- the words that the protocol is written in -----------------------------------------------

    def folder(self, attempt: int) -> Folder:
        return self.spool[attempt - 1]

    def with_folder(self, attempt: int, **changes: Any) -> State:
        folder = self.folder(attempt)._replace(**changes)
        return self._replace(spool=_put(self.spool, attempt, folder))

    def linked(self, attempt: int, mark: Mark) -> State:
        """link(2): the first one wins, whoever comes later changes nothing."""
        return self if self.folder(attempt).mark else self.with_folder(attempt, mark=mark)

    def with_row(self, **changes: Any) -> State:
        assert self.row is not None
        return self._replace(row=self.row._replace(**changes))

    def on(self, stage: Stage, attempt: int = 0, end: End | None = None) -> State:
        return self._replace(executor=Executor(stage, attempt, end))

    def sent(self, kind: str, attempt: int, end: End | None = None) -> State:
        return self._replace(messages=self.messages | {Message(kind, attempt, end)})

    def has(self, kind: str, attempt: int) -> bool:
        return Message(kind, attempt) in self.messages

    def lives(self, attempt: int) -> bool:
        """Whether a governor of the attempt lives; its lock on the claim says so."""
        return any(governor.attempt == attempt for governor in self.governors)

    def born(self, governor: Governor) -> State:
        return self._replace(governors=tuple(sorted((*self.governors, governor), key=str)))

    def gone(self, governor: Governor) -> State:
        at = self.governors.index(governor)
        return self._replace(governors=self.governors[:at] + self.governors[at + 1 :])

    def now(self, governor: Governor, phase: Phase, end: End | None = None) -> State:
        """The governor, a phase further."""
        return self.gone(governor).born(Governor(governor.attempt, phase, end))

    def started(self, attempt: int) -> State:
        return self._replace(
            workloads=tuple(sorted((*self.workloads, attempt))),
            starts=_put(self.starts, attempt, self.starts[attempt - 1] + 1),
        )

    def emptied(self, attempt: int) -> State:
        """Nothing lives in the attempt's tree any more, whether it ended or was killed."""
        return self._replace(workloads=tuple(at for at in self.workloads if at != attempt))


def _put(items: tuple[T, ...], number: int, item: T) -> tuple[T, ...]:
    return (*items[: number - 1], item, *items[number:])


Step = tuple[str, State]


class Protocol:
    """The protocol as it is meant."""

    def __init__(self, *, attempts: int = 2, faults: int = 1, cancels: int = 1) -> None:
        self.attempts = attempts
        self.faults = faults
        self.cancels = cancels

    def initial(self) -> State:
        return State(
            spool=(Folder(),) * self.attempts,
            starts=(0,) * self.attempts,
            faults=self.faults,
            cancels=self.cancels,
        )

    def steps(self, s: State) -> Iterator[Step]:
        """Everything that may happen next."""
        yield from self.client(s)
        yield from self.executor(s)
        for governor in set(s.governors):
            yield from self.governor(s, governor)
        yield from self.orphans(s)
        yield from self.failures(s)

    # --- the client ------------------------------------------------------------------------------

    def client(self, s: State) -> Iterator[Step]:
        """Asks until it is answered; the executor answers what it has committed."""
        if s.executor is None:
            return
        if s.row is None:
            yield "submission committed", s._replace(row=Row(ends=(None,) * self.attempts))
        elif not s.is_acknowledged:
            yield "submission acknowledged", s._replace(is_acknowledged=True)
        if s.row is not None and s.cancels and s.row.where is not Where.ENDED:
            yield "cancel committed", self.cancel(s, s.row)._replace(cancels=s.cancels - 1)

    def cancel(self, s: State, row: Row) -> State:
        if row.where is Where.QUEUED:
            return s.with_row(where=Where.ENDED, outcome=End.CANCELLED, is_cancelled=True)
        return s.with_row(is_cancelled=True)

    # --- the executor ----------------------------------------------------------------------------

    def executor(self, s: State) -> Iterator[Step]:
        """What it does next; each stage is a method."""
        if s.executor is None:
            yield "executor starts", self.restart(s)
        elif s.row is not None:
            step = getattr(self, s.executor.stage.value)
            yield from step(s, s.row, s.executor.attempt)

    def restart(self, s: State) -> State:
        is_live = s.row is not None and s.row.where in (Where.STARTING, Where.RUNNING)
        return s.on(Stage.INHERITED, s.row.attempt) if s.row and is_live else s.on(Stage.IDLE)

    def idle(self, s: State, row: Row, _attempt: int) -> Iterator[Step]:
        """The intent is committed before anybody forks."""
        if row.where is Where.QUEUED:
            number = row.attempt + 1
            granted = s.with_row(where=Where.STARTING, attempt=number)
            yield f"intent {number} committed", granted.on(Stage.GRANTED, number)

    def granted(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        launched = s.born(Governor(n)).sent("start", n)
        yield f"governor {n} launched", launched.on(Stage.WATCHING, n)
        yield from self.give_up(s, n, "the launch failed")

    def watching(self, s: State, row: Row, n: int) -> Iterator[Step]:
        """Listen to the governor, and see when it is gone. No deadline decides: link(2) does."""
        if s.has("started", n) and row.where is Where.STARTING:
            yield f"start of {n} committed", s.with_row(where=Where.RUNNING)
        for message in s.messages:
            if (message.kind, message.attempt) == ("finished", n):
                yield f"end of {n} arrives", s.on(Stage.TOLD, n, message.end)
        if not s.lives(n):
            yield from self.look(s, n)
        elif row.where is Where.STARTING:
            yield from self.give_up(s, n, "the start deadline passed")
        if row.is_cancelled:
            yield from self.give_up(s, n, "a cancel came before the start")
            if s.folder(n).mark is Mark.CLAIM:
                yield f"stop of {n} sent", s.sent("stop", n)

    def give_up(self, s: State, n: int, why: str) -> Iterator[Step]:
        """Link a tombstone; where a claim was first, nothing has happened."""
        linked = s.linked(n, Mark.TOMBSTONE)
        if linked.folder(n).mark is Mark.TOMBSTONE:
            yield f"attempt {n} given up: {why}", linked.on(Stage.BURNT, n)

    def look(self, s: State, n: int) -> Iterator[Step]:
        """The governor is dead, so nobody writes any more: what is in the spool is all there is."""
        if (end := s.folder(n).exit) is not None:
            yield f"exit record of {n} found", s.on(Stage.TOLD, n, end)
        elif s.folder(n).mark is Mark.CLAIM:
            yield f"governor {n} found dead", s.on(Stage.LOST, n)
        else:
            yield from self.give_up(s, n, "its governor is gone")

    def inherited(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        """Recovery reads the exit record before it judges anybody."""
        if (end := s.folder(n).exit) is not None:
            yield f"exit record of {n} found", s.on(Stage.TOLD, n, end)
        else:
            yield f"no exit record of {n} found", s.on(Stage.UNRECORDED, n)

    def unrecorded(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        """Nobody's claim: a tombstone. A living governor is adopted, a dead one looked after."""
        if s.folder(n).mark is not Mark.CLAIM:
            yield from self.give_up(s, n, "not claimed when the executor came back")
        elif s.lives(n):
            yield f"governor {n} adopted", s.on(Stage.WATCHING, n)
        else:
            yield from self.look(s, n)  # again: it may have written, and died, since

    def lost(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        """The tree is verified empty before the attempt is called interrupted."""
        yield f"tree of {n} emptied", s.emptied(n).on(Stage.CLEARED, n)

    def cleared(self, s: State, row: Row, n: int) -> Iterator[Step]:
        yield f"loss of {n} committed", self.record(s, row, n, End.INTERRUPTED)

    def burnt(self, s: State, row: Row, n: int) -> Iterator[Step]:
        yield f"burning of {n} committed", self.record(s, row, n, End.BURNT)

    def told(self, s: State, row: Row, n: int) -> Iterator[Step]:
        assert s.executor is not None
        assert s.executor.end is not None
        yield f"end of {n} committed", self.record(s, row, n, s.executor.end)

    def record(self, s: State, row: Row, n: int, end: End) -> State:
        """One commit: the attempt's end, and whether the run ends with it or is queued again."""
        s = s.with_row(ends=_put(row.ends, n, end)).on(Stage.IDLE)
        if end in (End.SUCCEEDED, End.CANCELLED):
            return s.with_row(where=Where.ENDED, outcome=end)
        if row.is_cancelled:
            return s.with_row(where=Where.ENDED, outcome=End.CANCELLED)
        if n == self.attempts:
            return s.with_row(where=Where.ENDED, outcome=End.INTERRUPTED)
        return s.with_row(where=Where.QUEUED)

    # --- the governor ----------------------------------------------------------------------------

    def governor(self, s: State, g: Governor) -> Iterator[Step]:
        """What it does next; each phase is a method."""
        yield from getattr(self, g.phase.value)(s, g, g.attempt)

    def waiting(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        """Claim on the start request; whoever comes second leaves without having started."""
        if s.has("start", n):
            if s.folder(n).mark is None:
                yield f"{n} claimed", s.linked(n, Mark.CLAIM).now(g, Phase.CLAIMED)
            else:
                yield f"governor {n} loses", s.gone(g)
        yield f"governor {n} gives up", s.linked(n, Mark.TOMBSTONE).gone(g)

    def claimed(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        yield f"workload {n} starts", s.started(n).now(g, Phase.WORKING).sent("started", n)

    def working(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        """Either way the tree is empty before the next step."""
        yield f"workload {n} ends", s.emptied(n).now(g, Phase.EMPTIED, End.SUCCEEDED)
        if s.has("stop", n):
            yield f"workload {n} killed", s.emptied(n).now(g, Phase.EMPTIED, End.CANCELLED)

    def emptied(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        """The exit record is on disk before anybody is told."""
        written = s.with_folder(n, exit=g.end)
        yield f"exit record of {n} written", written.now(g, Phase.WRITTEN, g.end)

    def written(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        yield f"end of {n} told", s.sent("finished", n, g.end)
        yield f"governor {n} leaves", s.gone(g)

    # --- what else happens -----------------------------------------------------------------------

    def orphans(self, s: State) -> Iterator[Step]:
        """A workload whose governor died ends by itself, or does not."""
        for n in set(s.workloads):
            if not s.lives(n):
                yield f"orphan {n} ends", s.emptied(n)

    def failures(self, s: State) -> Iterator[Step]:
        if not s.faults:
            return
        worse = s._replace(faults=s.faults - 1)
        if s.executor is not None:
            yield "EXECUTOR KILLED", worse._replace(executor=None)
        for governor in set(s.governors):
            yield f"GOVERNOR {governor.attempt} KILLED", worse.gone(governor)
        yield (
            "MACHINE REBOOTS",
            worse._replace(executor=None, governors=(), workloads=(), messages=frozenset()),
        )


# --- what must always be so ----------------------------------------------------------------------


def wrongs(s: State) -> Iterator[str]:
    """What is wrong with a state."""
    row = s.row
    if s.is_acknowledged and row is None:
        yield "an acknowledged submission is not in the store"
    if any(starts > 1 for starts in s.starts):
        yield "an attempt was started twice"
    if len(s.workloads) > 1:
        yield "two workloads of one run overlap"
    for n in s.workloads:
        if row is None or (row.where, row.attempt) not in (
            (Where.STARTING, n),
            (Where.RUNNING, n),
        ):
            yield "a workload runs of which the store knows nothing"
    if row is not None:
        yield from _untruths(s, row)


def _untruths(s: State, row: Row) -> Iterator[str]:
    """What is recorded and was not so."""
    for end, folder, starts in zip(row.ends, s.spool, s.starts, strict=True):
        if end is End.BURNT and starts:
            yield "an attempt that is called burnt was started"
        if end in (End.SUCCEEDED, End.CANCELLED) and folder.exit is not end:
            yield "an outcome was recorded that no exit record tells"
        if end is End.INTERRUPTED and folder.exit is not None:
            yield "an attempt with an exit record is called interrupted"
        if end is End.INTERRUPTED and folder.mark is not Mark.CLAIM:
            yield "an attempt that nobody claimed is called interrupted"
    if row.outcome is End.SUCCEEDED and row.ends[row.attempt - 1] is not End.SUCCEEDED:
        yield "a run is called succeeded whose last attempt was not"
    if row.outcome is End.CANCELLED and not row.is_cancelled:
        yield "a run is called cancelled that nobody cancelled"


def wrong_changes(before: State, now: State) -> Iterator[str]:
    """What is wrong with a step."""
    if before.row is None:
        return
    if now.row is None:
        yield "a run is gone"
    elif before.row.where is Where.ENDED and now.row != before.row:
        yield "a run that had ended changed"
    elif now.row.attempt < before.row.attempt:
        yield "the number of an attempt went back"


# --- trying everything ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exploration:
    """What came of it."""

    states: int
    steps: int
    wrong: str | None = None
    way: tuple[str, ...] = ()
    """The steps that lead to what is wrong; none are fewer."""


def explore(protocol: Protocol) -> Exploration:
    """Try everything that can happen, up to the first thing that must not."""
    start = protocol.initial()
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    leads_to: dict[State, list[State]] = {}
    waiting = deque([start])
    steps = 0
    while waiting:
        s = waiting.popleft()
        for label, after in protocol.steps(s):
            steps += 1
            leads_to.setdefault(after, []).append(s)
            if after not in came_from:
                came_from[after] = (s, label)
                waiting.append(after)
            wrong = next(_all_wrongs(s, after), None)
            if wrong is not None:
                return Exploration(len(came_from), steps, wrong, (*_way(came_from, s), label))
    stuck = came_from.keys() - _able_to_end(leads_to, came_from)
    if stuck:
        way = min((_way(came_from, s) for s in stuck), key=len)
        return Exploration(len(came_from), steps, "the run can't come to an end any more", way)
    return Exploration(len(came_from), steps)


def _all_wrongs(before: State, now: State) -> Iterator[str]:
    yield from wrong_changes(before, now)
    yield from wrongs(now)


def _way(came_from: dict[State, tuple[State, str] | None], s: State) -> tuple[str, ...]:
    labels = []
    while (before := came_from[s]) is not None:
        s, label = before
        labels.append(label)
    return tuple(reversed(labels))


def _able_to_end(leads_to: dict[State, list[State]], states: Iterable[State]) -> set[State]:
    """The states from which the run can come to its end."""
    able = {s for s in states if s.row is not None and s.row.where is Where.ENDED}
    waiting = deque(able)
    while waiting:
        for before in leads_to.get(waiting.popleft(), ()):
            if before not in able:
                able.add(before)
                waiting.append(before)
    return able
