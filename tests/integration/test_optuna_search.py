"""Optuna's samplers as searches, against Optuna by itself with the same seed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from intendant.protocol.study import SearchSpec
from intendant.protocol.trial_states import TrialOutcome
from intendant.workloads.study.hooks import History, Searcher
from intendant.workloads.study.making import make_searcher_and_scheduler
from intendant.workloads.study.trials import Params, Result, Trial
from tests.unit.workloads.study.studies import SPACE, make_spec


def bare(trial: optuna.Trial) -> Params:
    """What a user of Optuna would write for the same space."""
    return {
        "lr": trial.suggest_float("lr", 1e-5, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.99),
        "rung": trial.suggest_float("rung", -1.0, 0.8, step=0.3),
        "layers": trial.suggest_int("layers", 3, 19, step=4),
        "width": trial.suggest_int("width", 1, 1000, log=True),
        "kind": trial.suggest_categorical("kind", ["a", "b", 3, None]),
        "only": trial.suggest_float("only", 1.0, 1.0),
    }


def loss(params: Params) -> float:
    """Something to be made small."""
    return math.log10(params["lr"]) ** 2 + params["momentum"] + params["layers"]  # type: ignore[operator, arg-type]


SAMPLERS: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(seed=7),
    "tpe": lambda: optuna.samplers.TPESampler(seed=7),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=7),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=7),
    "nsgaii": lambda: optuna.samplers.NSGAIISampler(seed=7, population_size=8),
}
OPTIONS = {"nsgaii": {"population_size": 8}}


def make_searcher(method: str) -> Searcher:
    search = SearchSpec.model_validate({"method": method, "options": OPTIONS.get(method, {})})
    spec = make_spec(space=SPACE, search=search.model_dump())
    return make_searcher_and_scheduler(spec, seed=7)[0]


def suggest(searcher: Searcher, count: int, first: int = 0) -> list[Params]:
    """Trials one after the other, each told before the next."""
    found = []
    for number in range(first, first + count):
        trial = Trial(number, {})
        params = searcher.suggest(trial)
        assert params is not None
        trial.params = params
        searcher.on_trial_complete(trial, Result(1, 1, {"loss": loss(params)}, 0.0), error=False)
        found.append(params)
    return found


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("method", SAMPLERS)
def test_the_same_seed_proposes_what_optuna_by_itself_proposes(method: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=SAMPLERS[method]())
    expected = []
    for _ in range(25):
        trial = study.ask()
        expected.append(bare(trial))
        study.tell(trial, loss(expected[-1]))
    assert suggest(make_searcher(method), 25) == expected


@pytest.mark.parametrize("method", SAMPLERS)
def test_t20_a_restored_search_proposes_what_it_would_have_proposed(method: str) -> None:
    undisturbed = suggest(make_searcher(method), 24)

    first = make_searcher(method)
    histories = []
    for number in range(12):
        trial = Trial(number, {})
        trial.params = first.suggest(trial) or {}
        value = loss(trial.params)
        first.on_trial_complete(trial, Result(1, 1, {"loss": value}, 0.0), error=False)
        histories.append(as_history(trial, value))
    second = make_searcher(method)
    second.restore(first.save(), histories)

    assert suggest(second, 12, first=12) == undisturbed[12:]


def as_history(trial: Trial, value: float) -> History:
    return History(
        trial.number, trial.params, TrialOutcome.COMPLETED, value, {1: value}, dict(trial.notes)
    )


def test_conditions_hold_for_samplers_too() -> None:
    conditional = {
        "kind": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": "sgd"}},
    }
    spec = make_spec(space=conditional, search={"method": "tpe"})
    searcher, _ = make_searcher_and_scheduler(spec, seed=1)
    found = [searcher.suggest(Trial(number, {})) for number in range(20)]
    assert all(params and ("momentum" in params) == (params["kind"] == "sgd") for params in found)
    assert {params["kind"] for params in found if params} == {"sgd", "adam"}


TWO: dict[str, Any] = {"metric": "loss", "further_metrics": {"width": "max"}}
SAMPLERS_OF_SEVERAL: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
    "nsgaii": lambda: optuna.samplers.NSGAIISampler(seed=7, population_size=8),
    "tpe": lambda: optuna.samplers.TPESampler(seed=7),
}


def searcher_of_two(method: str) -> Searcher:
    search = {"method": method, "options": OPTIONS.get(method, {})}
    return make_searcher_and_scheduler(make_spec(space=SPACE, search=search, **TWO), seed=7)[0]


def two(params: Params) -> dict[str, float]:
    return {"loss": loss(params), "width": float(params["width"])}  # type: ignore[arg-type]


def suggest_two(searcher: Searcher, count: int, first: int = 0) -> list[Params]:
    """Trials one after the other, each told before the next."""
    found = []
    for number in range(first, first + count):
        trial = Trial(number, {})
        trial.params = searcher.suggest(trial) or {}
        result = Result(1, 1, two(trial.params), 0.0)
        searcher.on_trial_result(trial, result)
        searcher.on_trial_complete(trial, result, error=False)
        found.append(trial.params)
    return found


@pytest.mark.parametrize("method", SAMPLERS_OF_SEVERAL)
def test_with_several_metrics_the_same_seed_proposes_what_optuna_proposes(method: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=SAMPLERS_OF_SEVERAL[method](), directions=["minimize", "maximize"]
    )
    expected = []
    for _ in range(25):
        trial = study.ask()
        expected.append(bare(trial))
        study.tell(trial, list(two(expected[-1]).values()))
    assert suggest_two(searcher_of_two(method), 25) == expected


@pytest.mark.parametrize("method", SAMPLERS_OF_SEVERAL)
def test_t20_a_restored_search_with_several_metrics_goes_on(method: str) -> None:
    undisturbed = suggest_two(searcher_of_two(method), 24)

    first = searcher_of_two(method)
    histories = lived_through(first, 12)
    second = searcher_of_two(method)
    second.restore(first.save(), histories)

    assert suggest_two(second, 12, first=12) == undisturbed[12:]


def test_a_trial_that_a_scheduler_ended_keeps_no_search_with_several_metrics_from_going_on() -> (
    None
):
    first = searcher_of_two("tpe")
    histories = lived_through(first, 24)
    pruned = [replace(each, outcome=TrialOutcome.PRUNED) for each in histories[::2]]
    second = searcher_of_two("tpe")
    second.restore(first.save(), sorted([*pruned, *histories[1::2]], key=lambda one: one.number))

    assert len(suggest_two(second, 4, first=24)) == 4


def lived_through(searcher: Searcher, count: int) -> list[History]:
    """Some trials of two metrics, which the searcher has heard the ends of."""
    histories = []
    for number in range(count):
        trial = Trial(number, {})
        trial.params = searcher.suggest(trial) or {}
        found = two(trial.params)
        searcher.on_trial_complete(trial, Result(1, 1, found, 0.0), error=False)
        history = as_history(trial, found["loss"])
        histories.append(replace(history, further=(found["width"],)))
    return histories
