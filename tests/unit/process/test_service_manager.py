"""Which service manager an environment names. What it is told: `tests/system/test_service.py`."""

from __future__ import annotations

import os

import pytest

from intendant.process.service_manager import ServiceManager


def test_where_nobody_wants_to_know_telling_is_harmless() -> None:
    manager = ServiceManager.of({})

    assert not manager.is_there
    assert manager.beat_s is None
    manager.tell("READY=1")


def test_a_manager_that_is_gone_is_not_waited_for() -> None:
    ServiceManager("/nowhere/at/all").tell("READY=1")


def test_nobody_inherits_the_way_to_the_manager() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}

    ServiceManager.of(environ)

    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("period_us", "pid", "beat_s"),
    [
        ("3000000", None, 1.5),
        pytest.param("3000000", str(os.getpid()), 1.5, id="ours"),
        ("3000000", "1", None),
        ("0", None, None),
        ("soon", None, None),
    ],
)
def test_signs_of_life_come_twice_a_period_if_they_are_wanted_of_us(
    period_us: str, pid: str | None, beat_s: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": period_us}

    manager = ServiceManager.of(environ | ({} if pid is None else {"WATCHDOG_PID": pid}))

    assert manager.is_there
    assert manager.beat_s == beat_s
