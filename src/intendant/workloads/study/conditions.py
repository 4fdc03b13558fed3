"""When a trial, or the whole study, has reached what it was to reach."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping

from intendant.protocol.study import parse_condition
from intendant.workloads.study.trials import Metric, Result

MAX_METRICS = 1000
"""Of one report, after nested tables have been flattened."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class StopConditions:
    """Some conditions, of which one is enough."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._conditions = [(text, *parse_condition(text)) for text in texts]

    def met(self, result: Result) -> str | None:
        """The first condition that the result meets; `step` and `running_s` count as metrics."""
        for text, metric, comparison, bound in self._conditions:
            value = _value(result, metric)
            if value is not None and _COMPARISONS[comparison](value, bound):
                return text
        return None


def _value(result: Result, metric: str) -> float | None:
    if metric == "step":
        return float(result.step)
    if metric == "running_s":
        return result.running_s
    return result.number(metric)


def is_text(text: str) -> bool:
    """Whether it can be written down: half a surrogate pair, of which JSON may tell, can't be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flattened(metrics: Mapping[str, object], prefix: str = "") -> dict[str, Metric]:
    """Nested tables as `outer/inner`; `ValueError` says what is no metric."""
    flat: dict[str, Metric] = {}
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        for text in (name, value):
            if isinstance(text, str) and not is_text(text):
                raise ValueError(f"found {ascii(text)[:100]}, which is half a character: no text")
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{name}/")
        elif value is None or isinstance(value, bool | int | float | str):
            flat[name] = value
        elif hasattr(value, "item") and not isinstance(value, bytes):  # a number of numpy's
            flat[name] = value.item()
        else:
            raise ValueError(f"{name} is {type(value).__name__}, expected a number or a text")
    if len(flat) > MAX_METRICS:
        raise ValueError(f"found {len(flat)} metrics, expected at most {MAX_METRICS}")
    return flat
