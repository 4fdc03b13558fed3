"""What a study has found, for the program that has built it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

from intendant.client.embedded import EmbeddedDaemon, death_explained
from intendant.client.shapes import RunInfo, TrialInfo
from intendant.errors import RunFailed

if TYPE_CHECKING:
    from intendant.client.studies import Study


class Best(TypedDict):
    """The best trial. Its checkpoint is a folder that lasts as long as the state of the run."""

    trial: int
    params: dict[str, object]
    value: float
    step: int
    metrics: dict[str, object]
    checkpoint: str | None
    metrics_left_out: NotRequired[int]
    """On a front: how many beside the study's own were too large to be told."""
    params_left_out: NotRequired[int]
    """On a front: how many were; the trial itself has them (`trials`)."""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """The best trial, None if the study failed, and all trials by number.

    With several metrics there is no best one, but a `front` of those that no other one beats.
    """

    run: RunInfo
    best: Best | None
    trials: list[TrialInfo]
    front: list[Best] = field(default_factory=list)


def run_embedded(study: Study, state_dir: Path | None, *, slots: int | None) -> StudyResult:
    """Carry a study out under a private daemon; what it has found.

    `RunFailed` says why it failed; its `results` are what there is all the same.
    """
    with (
        EmbeddedDaemon(state_dir, slots=slots) as daemon,
        death_explained(daemon, go_on=None),
        daemon.client() as client,
    ):
        run = client.submit(study)
        info = run.wait()
        trials = client.trials(run.id)["trials"]
        if info["outcome"] == "succeeded":
            found = cast("dict[str, object]", run.result())
            front = cast("list[Best]", found.get("front", []))
            return StudyResult(info, cast("Best | None", found["best"]), trials, front)
    failure = RunFailed(
        run.id, outcome=str(info["outcome"]), reason=info["reason"], exit_code=info["exit_code"]
    )
    failure.results = StudyResult(info, None, trials)
    raise failure
