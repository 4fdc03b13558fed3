"""Going on where an earlier attempt stopped: what is done stays done, the rest is to run."""

from __future__ import annotations

from datetime import UTC, datetime

from intendant.protocol.step_states import GOOD, StepState
from intendant.store.steps import StepStore, reset


def prepare(store: StepStore) -> None:
    """Reset every step that has not ended well, whatever became of it."""
    at = datetime.now(UTC)
    store.write(
        [
            reset(info.name, at=at)
            for info in store.steps()
            if info.outcome not in GOOD and (info.state is not StepState.PENDING or info.outcome)
        ]
    )
