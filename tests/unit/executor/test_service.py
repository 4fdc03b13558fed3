"""How often a service manager hears of the daemon."""

from __future__ import annotations

import pytest

from intendant.executor.service import PAUSE_S, waits


@pytest.mark.parametrize("beat_s", [0.1, PAUSE_S, 15.0])
def test_a_sign_of_life_comes_as_often_as_it_is_wanted(beat_s: float) -> None:
    pause_s, rest_s = waits(beat_s)

    assert rest_s is not None
    assert rest_s >= 0.0
    assert pause_s + rest_s == beat_s


def test_where_none_is_wanted_a_change_is_waited_for() -> None:
    assert waits(None) == (PAUSE_S, None)
