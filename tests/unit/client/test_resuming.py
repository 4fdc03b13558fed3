"""When a stream that was cut off is asked for again."""

from __future__ import annotations

import pytest

from intendant.client.conversations import WaitReading
from intendant.client.events import EventCursor
from intendant.client.resuming import Resumption
from intendant.errors import DaemonLost, ServiceUnknown, SlowReader, Unreachable, WorkerLost


@pytest.fixture
def resumption() -> Resumption:
    return Resumption(EventCursor([], after_id=0, follow=True), "ipc:///bus")


def test_a_daemon_that_stays_away_is_gone_after_some_tries_in_a_row(resumption: Resumption) -> None:
    for _ in range(2):
        assert all(resumption.pause_s(WorkerLost("nobody")) > 0 for _ in range(5))
        resumption.went_on()
    assert all(resumption.pause_s(ServiceUnknown("nobody")) > 0 for _ in range(5))
    with pytest.raises(DaemonLost, match="ipc:///bus is gone"):
        resumption.pause_s(WorkerLost("nobody"))


def test_a_bus_that_never_answered_stays_unreachable_and_one_that_lost_its_daemon_is_gone(
    resumption: Resumption,
) -> None:
    with pytest.raises(Unreachable, match="no answer"):
        resumption.pause_s(Unreachable("no answer"))
    resumption.pause_s(WorkerLost("nobody"))
    with pytest.raises(DaemonLost, match="gone"):
        resumption.pause_s(Unreachable("no answer"))


def test_a_slow_reader_goes_on_at_once_where_its_place_is_known(resumption: Resumption) -> None:
    assert all(resumption.pause_s(SlowReader("too slow")) == 0 for _ in range(50))


def test_a_slow_reader_whose_place_is_not_known_is_told() -> None:
    reading = WaitReading("1", any=False, changes=True)
    with pytest.raises(SlowReader):
        Resumption(reading, "ipc:///bus").pause_s(SlowReader("too slow"))
