"""The trials of a study with several metrics that no other one beats."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from intendant.protocol.pareto import as_losses, front

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intendant.client.shapes import TrialInfo, TrialPage
    from intendant.protocol.study import Mode


def goals_of(page: TrialPage) -> dict[str, Mode]:
    """Every metric that says how good a trial is, with its mode."""
    goals = {page["metric"]: page["mode"], **page.get("further_metrics", {})}
    return cast("dict[str, Mode]", goals)


def values_of(trial: TrialInfo, goals: Mapping[str, Mode]) -> list[float | None]:
    """The trial's value of each metric."""
    further = trial.get("further", {})
    return [trial.get("value"), *(further.get(name) for name in list(goals)[1:])]


def on_front(page: TrialPage) -> list[TrialInfo]:
    """Those of the complete trials, the best by the first metric first."""
    goals = goals_of(page)
    losses = {}
    for trial in page["trials"]:
        values = [each for each in values_of(trial, goals) if each is not None]
        if trial.get("outcome") == "completed" and len(values) == len(goals):
            losses[trial["number"]] = as_losses(values, goals.values())
    trials = {trial["number"]: trial for trial in page["trials"]}
    return [trials[number] for number in front(losses)]
