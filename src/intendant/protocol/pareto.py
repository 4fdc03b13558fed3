"""The Pareto front of a study with several metrics: the trials that no other one beats; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import le
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from intendant.protocol.study import Mode

Key = TypeVar("Key", int, str)

Losses: TypeAlias = tuple[float, ...]
"""One number for each metric, the lower the better."""


def as_losses(values: Iterable[float], modes: Iterable[Mode]) -> Losses:
    """The values of a trial's metrics, each turned so that low is good."""
    return tuple(
        value if mode == "min" else -value for value, mode in zip(values, modes, strict=True)
    )


def dominates(one: Losses, other: Losses) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    return one != other and all(map(le, one, other))


def front(points: Mapping[Key, Losses]) -> list[Key]:
    """Those that no other one dominates, the best by the first metric first; equals all count."""
    found: list[Key] = []
    kept: list[Losses] = []
    latest: Sequence[Key] = sorted(points, key=lambda key: (points[key], key))
    for key in latest:  # whoever dominates it has come before
        point = points[key]
        # Of two metrics the second falls along the front: only the last one can dominate it.
        rivals = kept[-1:] if len(point) == 2 else kept
        if not any(dominates(each, point) for each in rivals):
            found.append(key)
            kept.append(point)
    return found
