"""Drawing values at random, as Optuna's RandomSampler draws them, but without Optuna and numpy.

Both begin with the generator MT19937, seeded as its authors wrote it (init_genrand in mt19937ar.c),
and make numbers between 0 and 1 from it in the same way; how a number becomes a value of a
parameter stands in Optuna's `_transform.py`. So the same seed gives the same trials, and a study
that searches at random starts without having to import anything large.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import assert_never

from pydantic import JsonValue

from intendant.protocol.space import (
    Choice,
    Fixed,
    Grid,
    Integer,
    LogUniform,
    Parameter,
    Uniform,
    exists,
    last_rung,
    values_of,
)
from intendant.workloads.study.trials import Params

_WORDS = 624


class Dice:
    """Numbers between 0 and 1; how many have been drawn is all its state."""

    def __init__(self, seed: int, drawn: int = 0) -> None:
        self._random = random.Random()  # noqa: S311  not for secrets
        self._random.setstate((3, (*_seeded(seed), _WORDS), None))
        self.drawn = 0
        for _ in range(drawn):
            self.between(0.0, 1.0)

    def between(self, low: float, high: float) -> float:
        """A number from `low` up to, but rarely, `high`."""
        self.drawn += 1
        return low + (high - low) * self._random.random()

    def below(self, count: int) -> int:
        """A whole number from 0 on, less than `count`."""
        return min(int(self.between(0, count)), count - 1)


def _seeded(seed: int) -> list[int]:
    """init_genrand of mt19937ar.c."""
    words = [seed & 0xFFFFFFFF]
    for at in range(1, _WORDS):
        last = words[-1]
        words.append((1812433253 * (last ^ (last >> 30)) + at) & 0xFFFFFFFF)
    return words


def sample_all(space: Mapping[str, Parameter], order: list[str], dice: Dice) -> Params:
    """A value for each parameter that exists beside those before it."""
    params: Params = {}
    for name in order:
        if exists(space[name], params):
            params[name] = sample(space[name], dice)
    return params


def sample(parameter: Parameter, dice: Dice) -> JsonValue:
    """One value at random; where there is one only, nothing is drawn."""
    only = _only_value(parameter)
    if only:
        return only[0]
    match parameter:
        case Fixed():
            return parameter.value
        case Choice() | Grid():
            return _choice(parameter.values, dice)
        case Uniform():
            return _uniform(parameter, dice)
        case LogUniform():
            low, high = parameter.low, parameter.high
            value = math.exp(dice.between(math.log(low), math.log(high)))
            return min(max(value, low), math.nextafter(high, high - 1))
        case Integer():
            return _integer(parameter, dice)
        case _:
            assert_never(parameter)


def _only_value(parameter: Parameter) -> list[JsonValue]:
    """The value of a parameter that has just one, in a list; else an empty list."""
    if isinstance(parameter, Uniform | LogUniform):
        step = parameter.step if isinstance(parameter, Uniform) else None
        is_single = parameter.high - parameter.low < (step or 0) or parameter.low == parameter.high
        return [parameter.low] if is_single else []
    values = values_of(parameter)
    return list(values) if values is not None and len(values) == 1 else []


def _choice(values: list[JsonValue], dice: Dice) -> JsonValue:
    """The highest of one number for each."""
    heights = [dice.between(0.0, 1.0) for _ in values]
    return values[heights.index(max(heights))]


def _uniform(parameter: Uniform, dice: Dice) -> float:
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is None:
        return min(dice.between(low, high), math.nextafter(high, high - 1))
    last = last_rung(parameter)
    # Half a step of room on both sides.
    value = dice.between(low - 0.5 * step, last + 0.5 * step)
    return min(max(round((value - low) / step) * step + low, low), last)


def _integer(parameter: Integer, dice: Dice) -> int:
    low, step = parameter.low, parameter.step
    high = int(last_rung(parameter))
    if parameter.log:
        exponent = dice.between(math.log(low - 0.5), math.log(high + 0.5))
        value = round(math.exp(exponent))
    else:
        half = 0.5 * step
        value = math.floor((dice.between(low - half, high + half) - low) / step + 0.5) * step + low
    return min(max(value, low), high)
