"""Which of some points no other one beats."""

from __future__ import annotations

from intendant.protocol.pareto import dominates, front


def test_what_is_nowhere_worse_and_somewhere_better_dominates() -> None:
    assert dominates((1.0, 2.0), (1.0, 3.0))
    assert not dominates((1.0, 3.0), (2.0, 2.0))
    assert not dominates((1.0, 2.0), (1.0, 2.0))


def test_on_the_front_is_what_nothing_dominates_and_each_of_equals() -> None:
    points = {1: (0.0, 2.0), 2: (1.0, 1.0), 3: (1.0, 2.0), 4: (1.0, 1.0), 5: (2.0, 0.0)}
    assert sorted(front(points)) == [1, 2, 4, 5]
