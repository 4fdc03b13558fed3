"""How much fits into one answer: a frame has a largest size, and specs may be large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from intendant.protocol.mdp import MAX_FRAME_BYTES
from intendant.protocol.records import RunRecord, UnreadableRun

Run = TypeVar("Run", bound=RunRecord | UnreadableRun)

MAX_RUNS = 1000
_MAX_BYTES = MAX_FRAME_BYTES // 2
"""Of runs in one answer, unless one alone is larger: a spec has at most so many."""


def fitting(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """As many runs as one answer holds, at least one of them, and the rest."""
    size_bytes = 0
    for count, run in enumerate(runs):
        size_bytes += len(run.model_dump_json(exclude_defaults=True))
        if count and (size_bytes > _MAX_BYTES or count == MAX_RUNS):
            return [*runs[:count]], [*runs[count:]]
    return [*runs], []
