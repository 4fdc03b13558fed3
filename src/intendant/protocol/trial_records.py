"""What is known of a study's trial, as it is shown; and what is asked of a study as it runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from intendant.protocol.fields import Model
from intendant.protocol.trial_states import TrialOutcome, TrialState

OrderKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,100}$")]
"""Makes an order that is sent twice one order."""


class TrialInfo(Model):
    """One trial of a study: where it is, and its last result. Times are UTC."""

    number: int
    state: TrialState
    outcome: TrialOutcome | None = None
    reason: str | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)
    value: float | None = Field(default=None, description="of the study's metric")
    step: int | None = None
    results: int = 0
    failures: int = 0
    starts: int = 0
    running_s: float = 0.0
    added_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    checkpoint: str | None = Field(default=None, description="the last, below the run's folder")
    further: dict[str, float] = Field(
        default_factory=dict, description="of the study's further metrics"
    )


class TrialOrder(Model):
    """Add a trial with these parameters; or stop one trial, or all of the study."""

    key: OrderKey
    params: dict[str, JsonValue] | None = None
    number: int | None = Field(default=None, ge=0)
