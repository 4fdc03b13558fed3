"""What is known of a pipeline's step, as it is kept and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from intendant.protocol.fields import Model
from intendant.protocol.step_states import StepOutcome, StepState

Encoding = Literal["json", "pickle"]


class Artifact(Model):
    """A file or a folder that a step left."""

    path: str
    url: str
    size: int | None = Field(default=None, description="of a file, in bytes")
    sha256: str | None = Field(default=None, description="of a file")


class ModelRecord(Model):
    """A model that a step has read or made, as it named it."""

    id: str | None = None
    name: str | None = None
    url: str | None = None
    framework: str | None = None
    comment: str | None = None


class Models(Model):
    """The models of a step, in order."""

    input: list[ModelRecord] = Field(default_factory=list)
    output: list[ModelRecord] = Field(default_factory=list)


class Usage(Model):
    """What the processes of a step have used."""

    user_s: float
    system_s: float
    max_rss_kib: int


class StepReport(Model):
    """How an attempt at a step ended, in the words of whoever carried it out."""

    outcome: Literal[StepOutcome.SUCCEEDED, StepOutcome.FAILED, StepOutcome.SKIPPED]
    reason: str | None = Field(default=None, description="`code` or `code: detail`")
    exit_code: int | None = None
    signal: int | None = None
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="as they were, references replaced"
    )
    encoding: Encoding | None = Field(default=None, description="of the outputs; null: none")
    outputs: str | None = Field(
        default=None, description="as JSON, where they are small and in no file"
    )
    artifacts: dict[str, Artifact] = Field(default_factory=dict)
    models: Models = Field(default_factory=Models)
    usage: Usage | None = None


class StepInfo(Model):
    """One step of a pipeline: where it is, and what it left. Times are UTC."""

    name: str
    state: StepState
    outcome: StepOutcome | None = None
    reason: str | None = None
    attempt: int = 0
    fingerprint: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    folder: str | None = None
    run_id: int | None = None
    report: StepReport | None = None


def cut_off(info: StepInfo, *, at: datetime | None) -> StepInfo:
    """A step of a pipeline that has ended (`at`): what it never told the end of ended with it."""
    if info.state is StepState.ENDED:
        return info
    outcome = StepOutcome.ABORTED if info.state is StepState.RUNNING else StepOutcome.NOT_RUN
    ended = {"state": StepState.ENDED, "outcome": outcome, "finished_at": at}
    return info.model_copy(update={**ended, "reason": "aborted: the pipeline was cut off"})


class StepEventInfo(Model):
    """One thing that happened to a step."""

    id: int
    at: datetime
    step: str
    attempt: int
    event: str
    detail: dict[str, JsonValue] = Field(default_factory=dict)
