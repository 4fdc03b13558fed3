"""Nothing that can happen breaks the protocol; without any one of its rules something does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.model import (
    End,
    Governor,
    Mark,
    Phase,
    Protocol,
    Row,
    Stage,
    State,
    Step,
    Where,
    explore,
)


class AcknowledgedBeforeTheCommit(Protocol):
    """The answer to a submission leaves while the store still writes."""

    def client(self, s: State) -> Iterator[Step]:
        if s.executor is not None and not s.is_acknowledged:
            yield "submission acknowledged", s._replace(is_acknowledged=True)
        yield from super().client(s)


class ForkedBeforeTheCommit(Protocol):
    """The governor is launched while the store still writes the intent."""

    def idle(self, s: State, row: Row, _attempt: int) -> Iterator[Step]:
        if row.where is Where.QUEUED:
            n = row.attempt + 1
            launched = s.born(Governor(n)).sent("start", n)
            yield f"governor {n} launched", launched.on(Stage.GRANTED, n)

    def granted(self, s: State, row: Row, n: int) -> Iterator[Step]:
        if row.where is Where.QUEUED:
            starting = s.with_row(where=Where.STARTING, attempt=n)
            yield f"intent {n} committed", starting.on(Stage.WATCHING, n)


class QueuedAgainWithoutTombstone(Protocol):
    """What nobody has claimed is given up, and nothing tells a late governor."""

    def give_up(self, s: State, n: int, why: str) -> Iterator[Step]:
        if s.folder(n).mark is not Mark.CLAIM:
            yield f"attempt {n} given up: {why}", s.on(Stage.BURNT, n)


class TombstoneByTimeOut(Protocol):
    """A deadline decides: the tombstone takes the place of whatever stands there."""

    def give_up(self, s: State, n: int, why: str) -> Iterator[Step]:
        buried = s.with_folder(n, mark=Mark.TOMBSTONE)
        yield f"attempt {n} given up: {why}", buried.on(Stage.BURNT, n)


class AttemptNumberUsedAgain(Protocol):
    """A run that goes back to the queue starts again as the same attempt, its folder emptied."""

    def idle(self, s: State, row: Row, _attempt: int) -> Iterator[Step]:
        if row.where is Where.QUEUED:
            n = max(row.attempt, 1)
            granted = s.with_row(where=Where.STARTING, attempt=n, ends=(None,) * self.attempts)
            anew = granted.with_folder(n, mark=None, exit=None)
            yield f"intent {n} committed", anew.on(Stage.GRANTED, n)


class InterruptedWithoutEmptyingTheTree(Protocol):
    """A dead governor is enough to call its attempt over."""

    def lost(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        yield f"tree of {n} left alone", s.on(Stage.CLEARED, n)


class SilenceTakenForDeath(Protocol):
    """A governor that is not heard of in time is given up although its process lives."""

    def watching(self, s: State, row: Row, n: int) -> Iterator[Step]:
        yield from super().watching(s, row, n)
        if s.folder(n).mark is Mark.CLAIM:
            yield f"nothing heard of governor {n}", s.on(Stage.LOST, n)


class EndToldBeforeTheExitRecord(Protocol):
    """The governor tells the executor first, then writes."""

    def emptied(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        yield f"end of {n} told", s.sent("finished", n, g.end)
        yield from super().emptied(s, g, n)


class ExitRecordLookedForOnce(Protocol):
    """Recovery reads the spool, finds the governor dead, and does not read again."""

    def unrecorded(self, s: State, _row: Row, n: int) -> Iterator[Step]:
        if s.folder(n).mark is Mark.CLAIM and not s.lives(n):
            yield f"governor {n} found dead", s.on(Stage.LOST, n)
        else:
            yield from super().unrecorded(s, _row, n)


class StartedWithoutClaim(Protocol):
    """A governor that has its start request starts."""

    def waiting(self, s: State, g: Governor, n: int) -> Iterator[Step]:
        if s.has("start", n):
            yield f"governor {n} starts", s.now(g, Phase.CLAIMED)
        yield from super().waiting(s, g, n)


class InterruptedForGood(Protocol):
    """An attempt's loss ends the run at once; an automatic retry brings it back afterwards."""

    def record(self, s: State, row: Row, n: int, end: End) -> State:
        after = super().record(s, row, n, end)
        is_retried = after.row is not None and after.row.where is Where.QUEUED
        if end is End.INTERRUPTED and is_retried:
            return after.with_row(where=Where.ENDED, outcome=End.INTERRUPTED)
        return after

    def idle(self, s: State, row: Row, attempt: int) -> Iterator[Step]:
        yield from super().idle(s, row, attempt)
        if row.outcome is End.INTERRUPTED and row.attempt < self.attempts:
            yield "retried", s.with_row(where=Where.QUEUED, outcome=None)


VARIANTS: list[tuple[type[Protocol], str]] = [
    (AcknowledgedBeforeTheCommit, "an acknowledged submission is not in the store"),
    (ForkedBeforeTheCommit, "a workload runs of which the store knows nothing"),
    (QueuedAgainWithoutTombstone, "a workload runs of which the store knows nothing"),
    (TombstoneByTimeOut, "a workload runs of which the store knows nothing"),
    (AttemptNumberUsedAgain, "an attempt that is called burnt was started"),
    (InterruptedWithoutEmptyingTheTree, "a workload runs of which the store knows nothing"),
    (SilenceTakenForDeath, "a workload runs of which the store knows nothing"),
    (EndToldBeforeTheExitRecord, "an outcome was recorded that no exit record tells"),
    (ExitRecordLookedForOnce, "an attempt with an exit record is called interrupted"),
    (StartedWithoutClaim, "a workload runs of which the store knows nothing"),
    (InterruptedForGood, "a run that had ended changed"),
]


def test_whatever_happens_the_protocol_keeps_its_promises(
    is_long: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = Protocol(attempts=3, faults=3) if is_long else Protocol(attempts=2, faults=2)

    found = explore(protocol)

    if is_long:
        with capsys.disabled():
            print(f"\n{found.states:,} states, {found.steps:,} steps")  # noqa: T201
    assert found.wrong is None, found.way
    assert found.states > 10_000


@pytest.mark.parametrize(
    ("variant", "wrong"), VARIANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_rule_of_the_protocol_is_needed(variant: type[Protocol], wrong: str) -> None:
    found = explore(variant())

    assert found.wrong == wrong, found.way
