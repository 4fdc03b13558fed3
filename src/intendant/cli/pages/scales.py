"""From values to places in a picture: numbers along a line, or one place for each of a few."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeGuard

_MANY = 1000.0
"""Positive numbers that are so many times apart are shown by their logarithm."""
_TICKS = 5
_GREATEST = 1e300
"""Of greater numbers, as of the infinities, there may be no difference."""


class Scale(Protocol):
    """Where values are, from 0 to 1, and what to write there."""

    def at(self, value: object) -> float | None:
        """Where a value is; None: nowhere."""
        ...

    def ticks(self) -> list[tuple[float, str]]:
        """Places and their texts."""
        ...


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers from `low` to `high`, by their logarithm where `log`."""

    low: float
    high: float
    log: bool = False

    def at(self, value: object) -> float | None:
        """Where a number is."""
        if not is_number(value):
            return None
        low, high, here = self._bent(self.low), self._bent(self.high), self._bent(value)
        return 0.5 if low == high else (here - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """Round numbers."""
        if self.high - self.low < 1 / _GREATEST:
            return [(0.5, f"{self.low:.4g}")]
        powers = self._powers_of_ten() if self.log else []
        round_ones = powers if len(powers) > 1 else self._multiples()
        return [(self.at(each) or 0.0, f"{each:.4g}") for each in round_ones]

    def _powers_of_ten(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        every = 1 + max(last - first, 0) // _TICKS
        return [10.0**power for power in range(first, last + 1, every)]

    def _multiples(self) -> list[float]:
        """Of the least round step (1, 2 or 5 times a power of ten) that makes few enough."""
        rough = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [at * step for at in range(first, last + 1)]

    def _bent(self, value: float) -> float:
        return math.log(max(value, self.low)) if self.log else float(value)


@dataclass(frozen=True, slots=True)
class Places:
    """One place for each of some values, in their order; `texts` are their JSON."""

    texts: Sequence[str]

    def at(self, value: object) -> float | None:
        """Where a value is."""
        text = as_text(value)
        if text not in self.texts:
            return None
        return (self.texts.index(text) + 0.5) / len(self.texts)

    def ticks(self) -> list[tuple[float, str]]:
        """The values, but not more than can be read."""
        every = math.ceil(len(self.texts) / 12)
        return [
            ((at + 0.5) / len(self.texts), text)
            for at, text in enumerate(self.texts)
            if at % every == 0
        ]


def scale_of(values: Iterable[object], *, log: bool | None = None) -> Scale:
    """A scale that has all of these values; `log` None: where they are that far apart."""
    found = list(values)
    numbers = [value for value in found if is_number(value)]
    if len(numbers) < len(found) or not numbers:
        return Places(sorted({as_text(value) for value in found}))
    low, high = min(numbers), max(numbers)
    is_far = low > 0 and high / low >= _MANY
    return Numbers(low, high, low > 0 and (is_far if log is None else log))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number that has a place on a line."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -_GREATEST <= value <= _GREATEST


def as_text(value: object) -> str:
    """What is written for a value."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
