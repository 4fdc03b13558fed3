"""The place in the event log and in the system log, whatever happens to the connection."""

from __future__ import annotations

from datetime import timedelta

import pytest

from intendant.client.client import Client
from intendant.protocol import messages as m
from intendant.protocol.records import EventRecord, LogLine
from intendant.protocol.run_states import RunState
from tests.helpers.fake_executor import BEGIN, FakeConnection, FakeExecutor


def event(event_id: int) -> EventRecord:
    return EventRecord(
        id=event_id, run_id=1, seq=event_id, at=BEGIN, attempt=0, event="submitted", before=None,
        after=RunState.QUEUED,
    )  # fmt: skip


def line(number: int, *, second: int) -> LogLine:
    at = BEGIN + timedelta(seconds=second)
    return LogLine(at=at, level="info", source="executor", text=f"line {number}")


def client_of(executor: FakeExecutor, cuts: tuple[int, ...] = ()) -> Client:
    return Client("ipc:///nowhere", connect=lambda _: FakeConnection(executor, cuts=cuts))


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4), (0, 0, 6, 1)])
def test_each_event_comes_once_and_in_order(cuts: tuple[int, ...]) -> None:
    executor = FakeExecutor(events=[event(number) for number in range(1, 10)])

    found = list(client_of(executor, cuts).events())

    assert [one["id"] for one in found] == list(range(1, 10))
    assert found[0]["detail"] == {}


def test_events_begin_after_the_one_that_is_named() -> None:
    executor = FakeExecutor(events=[event(number) for number in range(1, 10)])

    found = [one["id"] for one in client_of(executor).events([3, "5-8"], after_id=7, follow=True)]

    assert found == [8, 9]
    expected = m.EventListRequest(after_id=7, selection=["5-8", "3"], follow=True)
    assert executor.requests == [expected]


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4), (3, 3), (0, 0, 6, 1)])
def test_each_line_comes_once_although_its_moment_is_asked_for_again(cuts: tuple[int, ...]) -> None:
    lines = [line(number, second=number // 3) for number in range(9)]
    executor = FakeExecutor(system_log=lines)

    found = list(client_of(executor, cuts).system_log(level="info"))

    assert [one["text"] for one in found] == [one.text for one in lines]


def test_a_line_that_comes_late_is_new() -> None:
    lines = [line(1, second=5), line(2, second=3), line(3, second=5)]
    executor = FakeExecutor(system_log=lines)

    assert [one["text"] for one in client_of(executor).system_log()] == [
        "line 1",
        "line 2",
        "line 3",
    ]
