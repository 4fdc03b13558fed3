"""The parameters of a study: what values each may have, and when it exists at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from intendant.problems import InWords
from intendant.protocol.fields import Model

MAX_PARAMETERS = 1000
MAX_CHOICES = 10_000

ParameterName = Annotated[
    str,
    StringConstraints(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.\-/]*$"),
    InWords("a name of 1 to 200 letters, digits or '_.-/', the first a letter or '_'"),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = str | int | float | bool | None


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


When = dict[str, JsonValue]
"""For each of some other parameters: the value, or a list of the values, that it must have."""


class _Parameter(Model):
    when: When = Field(
        default_factory=dict,
        max_length=20,
        description="exists only where these other parameters have one of these values",
    )


class Uniform(_Parameter):
    """A real number, each as likely as the other; with `step` one of a ladder."""

    type: Literal["uniform"]
    low: Finite
    high: Finite
    step: Annotated[Finite, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Uniform:
        _check_range(self.low, self.high)
        _check_range(self.low, self.low + (self.step or 0))
        return self


class LogUniform(_Parameter):
    """A real number above 0, each order of magnitude as likely as the other."""

    type: Literal["loguniform"]
    low: Annotated[Finite, Field(gt=0)]
    high: Finite

    @model_validator(mode="after")
    def _is_a_range(self) -> LogUniform:
        _check_range(self.low, self.high)
        return self


class Integer(_Parameter):
    """A whole number, both ends included; `log`: small ones as likely as large ones."""

    type: Literal["integer"]
    low: Annotated[int, Field(ge=-(2**53), le=2**53)]
    high: Annotated[int, Field(ge=-(2**53), le=2**53)]
    step: int = Field(default=1, ge=1)
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Integer:
        _check_range(self.low, self.high)
        if self.log and self.low < 1:
            raise ValueError(f"log needs a range above 0, found low = {self.low}")
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other")
        return self


def _distinct(values: list[JsonValue]) -> list[JsonValue]:
    seen = {repr(value) for value in values}
    if len(seen) != len(values):
        raise ValueError("a value stands there twice")
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        raise ValueError("found a number that is not finite")
    return values


Values = Annotated[
    list[JsonValue], Field(min_length=1, max_length=MAX_CHOICES), AfterValidator(_distinct)
]


class Choice(_Parameter):
    """One of some values, none nearer to one than to the other."""

    type: Literal["choice"]
    values: Values


class Grid(_Parameter):
    """Each of some values, in this order; for the search `grid`."""

    type: Literal["grid"]
    values: Values


class Fixed(_Parameter):
    """The same value in every trial."""

    type: Literal["fixed"]
    value: JsonValue


Parameter = Annotated[
    Uniform | LogUniform | Integer | Choice | Grid | Fixed, Field(discriminator="type")
]
Params = dict[str, JsonValue]
"""What one trial is given: a value for each parameter that exists for it."""


def _check_range(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"found low = {low:g} above high = {high:g}")
    if not math.isfinite(high - low):
        raise ValueError("the range is wider than numbers are")


def values_of(parameter: Parameter) -> list[JsonValue] | range | None:
    """Every value that a parameter may have; None for a real number, which has too many.

    Never a list that is longer than the spec: what a range of integers holds is a `range`.
    """
    match parameter:
        case Choice() | Grid():
            return parameter.values
        case Integer():
            return range(parameter.low, parameter.high + 1, parameter.step)
        case Fixed():
            return [parameter.value]
        case _:
            return None


def last_rung(parameter: Uniform | Integer) -> float:
    """The highest value: `high`, or the last rung of the ladder below it."""
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is None:
        return high
    # Decimal, as a person counts: 0.3 is three times 0.1.
    rungs = (Decimal(str(high)) - Decimal(str(low))) // Decimal(str(step))
    last = rungs * Decimal(str(step)) + Decimal(str(low))
    return int(last) if isinstance(parameter, Integer) else float(last)


def exists(parameter: Parameter, params: Mapping[str, JsonValue]) -> bool:
    """Whether the parameter exists beside the values chosen before it."""
    return all(
        name in params and params[name] in _as_list(wanted)
        for name, wanted in parameter.when.items()
    )


def in_order(space: Mapping[str, Parameter]) -> list[str]:
    """The names, each after those that it depends on; `ValueError` names what is unsound."""
    from graphlib import CycleError, TopologicalSorter

    for name, parameter in space.items():
        _check_conditions(name, parameter, space)
    graph = {name: list(parameter.when) for name, parameter in space.items()}
    try:
        # Stable: among those that are free to come, the order of the file.
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise ValueError(
            f"parameters wait for each other in a circle: {' → '.join(error.args[1])}"
        ) from error
    ordered: list[str] = []
    while len(ordered) < len(graph):
        ordered += [
            name
            for name, parents in graph.items()
            if name not in ordered and all(parent in ordered for parent in parents)
        ][:1]
    return ordered


def _check_conditions(name: str, parameter: Parameter, space: Mapping[str, Parameter]) -> None:
    for other, wanted in parameter.when.items():
        if other not in space:
            raise ValueError(f"{name}: when: {other!r} is no parameter")
        possible = values_of(space[other])
        if possible is None:
            raise ValueError(f"{name}: when: {other!r} is a real number, which has too many values")
        for value in _as_list(wanted):
            if value not in possible:
                raise ValueError(f"{name}: when: {other!r} is never {value!r}")


def completed(space: Mapping[str, Parameter], given: Mapping[str, JsonValue]) -> Params:
    """Parameters that somebody chose, with those that are fixed; `ValueError` if they don't fit."""
    if strange := sorted(given.keys() - space.keys()):
        raise ValueError(f"{strange[0]!r} is no parameter of the study")
    params: Params = {}
    for name in in_order(space):
        parameter = space[name]
        if not exists(parameter, params):
            if name in given:
                raise ValueError(f"{name} does not exist beside the other values")
            continue
        if name in given:
            params[name] = _fitting(name, parameter, given[name])
        elif isinstance(parameter, Fixed):
            params[name] = parameter.value
        else:
            raise ValueError(f"{name} is missing")
    return params


def fits(parameter: Parameter, value: JsonValue) -> bool:
    """Whether it is one of the parameter's values."""
    try:
        _fitting("", parameter, value)
    except ValueError:
        return False
    return True


def _fitting(name: str, parameter: Parameter, value: JsonValue) -> JsonValue:
    values = values_of(parameter)
    if values is not None:
        if value not in values:
            raise ValueError(f"{name} is never {value!r}")
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    low, high = parameter.low, parameter.high  # type: ignore[union-attr]  # a real number's
    if not (is_number and low <= value <= high):  # type: ignore[operator]  # as checked
        raise ValueError(f"{name} is {value!r}, which is no number from {low:g} to {high:g}")
    return value
