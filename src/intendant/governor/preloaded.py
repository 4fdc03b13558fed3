"""Imported by the zygote: builds the models that every governor needs, once for all its forks.

Models are built when they are first used (`protocol.fields`), in each governor if not here.
"""

from __future__ import annotations

from intendant.protocol.fields import RetryPolicy
from intendant.protocol.messages import (
    GOVERNOR_REQUEST,
    RunFinishedRequest,
    RunNoteRequest,
    RunShutdownResponse,
    RunStartResponse,
)
from intendant.protocol.order import GovernorOrder, Standing
from intendant.protocol.records import ClaimRecord, ExitRecord, StepRecord

NEEDED = (
    Standing,
    GovernorOrder,
    ClaimRecord,
    ExitRecord,
    StepRecord,
    RetryPolicy,
    RunStartResponse,
    RunShutdownResponse,
    RunNoteRequest,
    RunFinishedRequest,
)

GOVERNOR_REQUEST.rebuild()
for model in NEEDED:
    model.model_rebuild()
