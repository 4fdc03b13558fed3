"""The work of the hottest paths beside what is kept of it (`benchmarks/guard.py`)."""

from __future__ import annotations

import json

import pytest
from benchmarks.counting import instructions
from benchmarks.guard import counted, differences, kept


def test_the_hottest_paths_do_as_much_work_as_is_kept_of_them() -> None:
    assert differences(counted(), kept()) == []


def test_a_count_is_the_same_each_time_and_grows_with_the_work() -> None:
    def loop(rounds: int) -> None:
        for _ in range(rounds):
            json.dumps([])

    few = [instructions(lambda: loop(10)) for _ in range(3)]
    assert few == few[:1] * 3
    assert instructions(lambda: loop(100)) > 5 * few[0]


@pytest.mark.parametrize(
    ("today", "differs"), [(100, False), (150, False), (151, True), (67, False), (66, True)]
)
def test_a_count_beyond_the_margin_is_told_of(today: int, differs: bool) -> None:
    found = differences({"hop": today}, {"hop": 100})
    assert found == ([f"hop: {today}, kept is 100 (see benchmarks/guard.py)"] if differs else [])


def test_a_path_that_is_gone_or_new_is_told_of() -> None:
    assert len(differences({"new": 1}, {"gone": 1})) == 2
