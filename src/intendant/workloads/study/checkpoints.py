"""Which checkpoints of a trial are kept: always the last, and the best of the others; pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from intendant.protocol.study import CheckpointSpec
from intendant.workloads.study.trials import Checkpoint


def superfluous(
    spec: CheckpointSpec, kept: Sequence[Checkpoint], in_use: Collection[str] = ()
) -> list[Checkpoint]:
    """Those of one trial (oldest first) that may go; none that somebody goes on from."""
    if spec.keep is None or len(kept) <= spec.keep:
        return []
    *others, _last = kept
    ranked = sorted(others, key=lambda checkpoint: _merit(spec, checkpoint))
    surplus = ranked[: len(kept) - spec.keep]
    return [checkpoint for checkpoint in surplus if checkpoint.path not in in_use]


def _merit(spec: CheckpointSpec, checkpoint: Checkpoint) -> tuple[float, int]:
    """The higher, the longer it is kept; of equals the later."""
    seq = checkpoint.result.seq
    if spec.by is None:
        return 0.0, seq
    score = checkpoint.result.number(spec.by)
    if score is None or math.isnan(score):
        return -math.inf, seq
    return (score if spec.mode == "max" else -score), seq
