"""From a spec to its searcher and its scheduler; what few studies need is imported by those."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from intendant.errors import SettingsError
from intendant.protocol.study import StudySpec
from intendant.workloads.calling import find_function
from intendant.workloads.study.hooks import Searcher, TrialScheduler
from intendant.workloads.study.schedulers import FifoScheduler
from intendant.workloads.study.searchers import GridSearch, RandomSearch

if TYPE_CHECKING:
    from intendant.workloads.study.optuna_study import OptunaStudy

SEARCHES_OF_OPTUNA = frozenset({"tpe", "cmaes", "qmc", "nsgaii"})
SCHEDULERS_OF_OPTUNA = frozenset({"asha", "hyperband", "median"})


def make_searcher_and_scheduler(spec: StudySpec, *, seed: int) -> tuple[Searcher, TrialScheduler]:
    """Both; `SettingsError` for options that they don't take, or where Optuna is missing."""
    uses_optuna = (
        spec.search.method in SEARCHES_OF_OPTUNA or spec.scheduler.method in SCHEDULERS_OF_OPTUNA
    )
    # One for both: Hyperband has a sampler learn within its brackets only.
    study = _make_optuna_study(spec, seed) if uses_optuna else None
    return _make_searcher(spec, seed, study), _make_scheduler(spec, seed, study)


def _make_searcher(spec: StudySpec, seed: int, study: OptunaStudy | None) -> Searcher:
    match spec.search.method:
        case "random":
            return RandomSearch(spec.space, seed=seed)
        case "grid":
            return GridSearch(spec.space)
        case "custom":
            return cast(Searcher, _made_by(spec.search.target, spec))
        case _:
            from intendant.workloads.study.optuna_hooks import OptunaSearcher

            assert study is not None  # noqa: S101  it was made for this method
            return OptunaSearcher(study)


def _make_scheduler(spec: StudySpec, seed: int, study: OptunaStudy | None) -> TrialScheduler:
    match spec.scheduler.method:
        case "fifo":
            return FifoScheduler()
        case "pbt":
            from intendant.workloads.study.population import make_population

            return make_population(spec, seed=seed)
        case "custom":
            return cast(TrialScheduler, _made_by(spec.scheduler.target, spec))
        case _:
            from intendant.workloads.study.optuna_hooks import PruningScheduler

            assert study is not None  # noqa: S101  it was made for this method
            return PruningScheduler(study)


def _make_optuna_study(spec: StudySpec, seed: int) -> OptunaStudy:
    try:
        from intendant.workloads.study import optuna_hooks, optuna_study
    except ImportError as error:
        raise SettingsError(
            f"the search {spec.search.method} with the scheduler {spec.scheduler.method} needs "
            f"Optuna: pip install '.[study]' ({error})"
        ) from error
    own_search = spec.search.method not in SEARCHES_OF_OPTUNA
    own_scheduler = spec.scheduler.method not in SCHEDULERS_OF_OPTUNA
    return optuna_study.OptunaStudy(
        spec.space,
        goals=spec.goals,
        sampler=None if own_search else optuna_hooks.make_sampler(spec.search, seed),
        pruner=None if own_scheduler else optuna_hooks.make_pruner(spec.scheduler),
    )


def _made_by(target: str | None, spec: StudySpec) -> object:
    """What a factory of the user's makes of the spec."""
    assert target is not None  # noqa: S101  the spec has checked it
    factory: Callable[..., object] = find_function(target)
    return factory(spec)
