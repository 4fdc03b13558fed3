"""When a stream that was cut off is asked for again."""

from __future__ import annotations

import pytest

from intendant.client.conversations import WaitReading
from intendant.client.events import EventCursor
from intendant.client.resuming import COMES_BACK_S, Resumption
from intendant.errors import DaemonLost, ServiceUnknown, SlowReader, Unreachable, WorkerLost


class Clock:
    """Stands still until a test sets it; seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def resumption(clock: Clock) -> Resumption:
    return Resumption(EventCursor([], after_id=0, follow=True), "ipc:///bus", clock)


def test_a_daemon_that_stays_away_is_gone_after_a_while(
    resumption: Resumption, clock: Clock
) -> None:
    for error in (WorkerLost("nobody"), ServiceUnknown("nobody"), Unreachable("no socket")) * 20:
        assert resumption.pause_s(error) > 0
    clock.now = COMES_BACK_S
    assert resumption.pause_s(ServiceUnknown("nobody")) > 0
    resumption.went_on()
    clock.now = 5 * COMES_BACK_S
    assert resumption.pause_s(WorkerLost("nobody")) > 0
    clock.now = 5.6 * COMES_BACK_S
    assert resumption.pause_s(Unreachable("no socket")) > 0
    clock.now = 6.1 * COMES_BACK_S
    with pytest.raises(DaemonLost, match="ipc:///bus is gone"):
        resumption.pause_s(Unreachable("no socket"))


def test_a_daemon_that_is_restarted_again_later_is_waited_for_again(
    resumption: Resumption, clock: Clock
) -> None:
    for clock.now in (0.0, COMES_BACK_S / 2, 100 * COMES_BACK_S, 100.5 * COMES_BACK_S):
        assert resumption.pause_s(WorkerLost("nobody")) > 0  # and nothing new came meanwhile


def test_a_daemon_that_never_answered_is_not_waited_for(resumption: Resumption) -> None:
    with pytest.raises(Unreachable, match="no answer"):
        resumption.pause_s(Unreachable("no answer"))


def test_a_daemon_is_waited_for_no_longer_than_the_stream_may_take(clock: Clock) -> None:
    reading = WaitReading("1", any=False, changes=True, timeout_s=2)
    resumption = Resumption(reading, "ipc:///bus", clock)
    assert resumption.pause_s(WorkerLost("nobody")) > 0
    clock.now = 2.0
    with pytest.raises(TimeoutError, match="not ended within 2 s: run 1"):
        resumption.pause_s(Unreachable("no socket"))


def test_a_slow_reader_goes_on_at_once_where_its_place_is_known(resumption: Resumption) -> None:
    assert all(resumption.pause_s(SlowReader("too slow")) == 0 for _ in range(50))


def test_a_slow_reader_whose_place_is_not_known_is_told() -> None:
    reading = WaitReading("1", any=False, changes=True)
    with pytest.raises(SlowReader):
        Resumption(reading, "ipc:///bus").pause_s(SlowReader("too slow"))
