"""The parameters of a study in Optuna's words."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import JsonValue
from pydantic_core import to_json

from intendant.protocol.space import (
    Choice,
    Fixed,
    Grid,
    Integer,
    LogUniform,
    Parameter,
    Uniform,
    last_rung,
)


def distribution_of(parameter: Parameter) -> BaseDistribution:
    """A parameter's values in Optuna's words."""
    match parameter:
        case Fixed():
            return CategoricalDistribution([as_choice(parameter, parameter.value)])
        case Choice() | Grid():
            return CategoricalDistribution(choices(parameter))
        case Uniform():
            return FloatDistribution(parameter.low, last_rung(parameter), step=parameter.step)
        case LogUniform():
            return FloatDistribution(parameter.low, parameter.high, log=True)
        case Integer():
            return IntDistribution(
                parameter.low, int(last_rung(parameter)), step=parameter.step, log=parameter.log
            )


def choices(parameter: Choice | Grid) -> list[Any]:
    """The values of a parameter that has only these."""
    return [as_choice(parameter, value) for value in parameter.values]


def as_choice(parameter: Parameter, value: JsonValue) -> Any:
    """Optuna stores plain values; a list or a table is its JSON there."""
    is_plain = value is None or isinstance(value, str | int | float | bool)
    if isinstance(parameter, Choice | Grid | Fixed) and not is_plain:
        return to_json(value).decode()
    return value
