"""How much fits into one answer: a frame has a largest size; specs and parameters may be large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from intendant.protocol.fields import Model
from intendant.protocol.mdp import MAX_FRAME_BYTES

Shown = TypeVar("Shown", bound=Model)

MAX_RUNS = 1000
_MAX_BYTES = MAX_FRAME_BYTES // 2
"""Of runs or trials in one answer, unless one alone is larger: a spec has at most so many."""


def fitting(found: Sequence[Shown]) -> tuple[list[Shown], list[Shown]]:
    """As many runs (or trials) as one answer holds, at least one of them, and the rest."""
    size_bytes = 0
    for count, one in enumerate(found):
        size_bytes += len(one.model_dump_json(exclude_defaults=True))
        if count and (size_bytes > _MAX_BYTES or count == MAX_RUNS):
            return [*found[:count]], [*found[count:]]
    return [*found], []
