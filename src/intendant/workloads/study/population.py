"""Population based training (Jaderberg and others, 2017, arXiv:1711.09846).

Every so many steps a trial is compared with the others. One of the worst leaves its process and
goes on as a variant of one of the best: from that one's checkpoint, with parameters near its own.
Where not all of the population can run at once its members take turns: they stay comparable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from intendant.errors import SettingsError
from intendant.problems import explain_validation_error
from intendant.protocol.space import (
    Choice,
    Fixed,
    Grid,
    Integer,
    LogUniform,
    Parameter,
    Uniform,
    exists,
    in_order,
)
from intendant.protocol.study import Mode, StudySpec
from intendant.protocol.trial_states import Decision
from intendant.workloads.study.hooks import History
from intendant.workloads.study.sampling import Dice, sample
from intendant.workloads.study.schedulers import FifoScheduler
from intendant.workloads.study.trials import Params, Restart, Result, Trial, Trials


class PopulationOptions(BaseModel):
    """How population based training goes about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: int = Field(default=1, ge=1, description="steps between two comparisons")
    quantile: float = Field(default=0.25, gt=0, le=0.5, description="share of best and worst")
    resample: float = Field(
        default=0.25, ge=0, le=1, description="how likely a parameter is drawn anew"
    )
    factors: tuple[float, float] = Field(
        default=(0.8, 1.2), description="by one of which a number is multiplied otherwise"
    )


class PopulationScheduler(FifoScheduler):
    """Lets the worst go on as variants of the best."""

    wants_waiting = 1000
    """All of the population."""

    def __init__(
        self,
        space: Mapping[str, Parameter],
        *,
        metric: str,
        mode: Mode,
        seed: int,
        options: PopulationOptions,
    ) -> None:
        self._space = space
        self._order = in_order(space)
        self._metric = metric
        self._sign = 1.0 if mode == "max" else -1.0
        self._seed = seed
        self._options = options
        self._dice = Dice(seed)
        self._scores: dict[int, float] = {}
        self._compared_at: dict[int, int] = {}

    def on_trial_result(self, trials: Trials, trial: Trial, result: Result) -> Decision:
        """PAUSE for one that is to go on as another."""
        if result.step - self._compared_at.get(trial.number, 0) < self._options.interval:
            return Decision.CONTINUE
        self._compared_at[trial.number] = result.step
        self._scores[trial.number] = self._score(result)
        best, worst = self._quantiles(trials)
        donors = [other for other in best if other.checkpoints]
        if trial.number not in worst or not donors:
            others_wait = bool(trials.pending() or trials.paused())
            return Decision.PAUSE if others_wait else Decision.CONTINUE
        donor = donors[self._dice.below(len(donors))]
        checkpoint = donor.checkpoints[-1]
        trial.restart = Restart(self.variant(donor.params), checkpoint, donor.number)
        self._compared_at[trial.number] = checkpoint.result.step
        return Decision.PAUSE

    def choose_trial_to_run(self, trials: Trials) -> Trial | None:
        """The one that has come least far."""
        waiting = trials.pending() + trials.paused()
        return min(waiting, key=lambda trial: trial.step, default=None)

    def on_trial_complete(self, trials: Trials, trial: Trial, result: Result | None) -> None:  # noqa: ARG002
        """It is no longer compared with."""
        self._forget(trial)

    def on_trial_error(self, trials: Trials, trial: Trial) -> None:  # noqa: ARG002
        """It is no longer compared with, until it reports again."""
        self._forget(trial)

    def on_trial_remove(self, trials: Trials, trial: Trial) -> None:  # noqa: ARG002
        """It is no longer compared with."""
        self._forget(trial)

    def save(self) -> bytes:
        """Scores, when each was compared, and how far the dice are."""
        state = {
            "scores": list(self._scores.items()),
            "compared_at": list(self._compared_at.items()),
            "drawn": self._dice.drawn,
        }
        return json.dumps(state).encode()

    def restore(self, state: bytes, trials: Iterable[History]) -> None:  # noqa: ARG002
        """Go on from there."""
        saved = json.loads(state)
        self._scores = {int(number): float(score) for number, score in saved["scores"]}
        self._compared_at = {int(number): int(step) for number, step in saved["compared_at"]}
        self._dice = Dice(self._seed, int(saved["drawn"]))

    def variant(self, params: Params) -> Params:
        """Parameters near those of a good trial."""
        found: Params = {}
        for name in self._order:
            parameter = self._space[name]
            if not exists(parameter, found):
                continue
            is_new = name not in params or self._dice.between(0, 1) < self._options.resample
            found[name] = (
                sample(parameter, self._dice) if is_new else self._near(parameter, params[name])
            )
        return found

    def _near(self, parameter: Parameter, value: JsonValue) -> JsonValue:
        """A number times a factor, within its bounds; the neighbour of a choice."""
        match parameter:
            case Fixed():
                return value
            case Choice() | Grid():
                return self._neighbour(parameter.values, value)
            case Uniform() | LogUniform() | Integer():
                assert isinstance(value, int | float)  # noqa: S101  what such a parameter gives
                scaled = value * self._options.factors[self._dice.below(2)]
                return _on_ladder(parameter, min(max(scaled, parameter.low), parameter.high))

    def _neighbour(self, values: list[JsonValue], value: JsonValue) -> JsonValue:
        at = values.index(value) + (1 if self._dice.below(2) else -1)
        return values[min(max(at, 0), len(values) - 1)]

    def _score(self, result: Result) -> float:
        """The higher the better; what is no number is worst."""
        value = result.number(self._metric)
        return -math.inf if value is None or math.isnan(value) else self._sign * value

    def _quantiles(self, trials: Trials) -> tuple[list[Trial], set[int]]:
        """The best of those that were compared, and the numbers of the worst."""
        ranked = sorted(
            (trial for trial in trials if trial.number in self._scores),
            key=lambda trial: self._scores[trial.number],
        )
        if len(ranked) < 2:
            return [], set()
        count = min(math.ceil(len(ranked) * self._options.quantile), len(ranked) // 2)
        return ranked[-count:], {trial.number for trial in ranked[:count]}

    def _forget(self, trial: Trial) -> None:
        self._scores.pop(trial.number, None)
        self._compared_at.pop(trial.number, None)


def _on_ladder(parameter: Uniform | LogUniform | Integer, value: float) -> float | int:
    """The value on the next rung, where there are rungs."""
    if isinstance(parameter, Integer):
        return parameter.low + round((value - parameter.low) / parameter.step) * parameter.step
    if isinstance(parameter, Uniform) and parameter.step is not None:
        return parameter.low + round((value - parameter.low) / parameter.step) * parameter.step
    return value


def make_population(spec: StudySpec, *, seed: int) -> PopulationScheduler:
    """The scheduler of a study; `SettingsError` for options that it does not take."""
    try:
        options = PopulationOptions.model_validate(spec.scheduler.options)
    except ValidationError as error:
        text = explain_validation_error(error, source="scheduler", model=PopulationOptions)
        raise SettingsError(text) from error
    return PopulationScheduler(
        spec.space, metric=spec.metric, mode=spec.mode, seed=seed, options=options
    )
